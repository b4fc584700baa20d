# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What happens beside the training of a run: metrics, picture, checkpoints and the progress bar."""

import logging
import math
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np

from bionemo.core.progress import progress_bar
from bionemo.llm.checkpoints.hf_directory import read_json
from bionemo.llm.checkpoints.training_state import STATE_DIR
from bionemo.llm.lightning import BionemoLightningModule, MeanLoss
from bionemo.llm.training.loss_plot import RESIDUE_FREQUENCIES_LABEL, draw_loss_plot
from bionemo.llm.training.metrics_csv import MetricsCsv
from bionemo.llm.training.run_directory import RunDirectory


logger = logging.getLogger(__name__)

VALIDATION_NAMES = ("val_loss", "val_loss_masked")
"""What the first and the second validation loader measure."""


class MetricsWriter(pl.Callback):
    """Writes ``metrics.csv`` and ``loss.png``, and shows the latest figures.

    Throughput counts tokens of sequences per second of all ranks, validation and checkpoints left out.

    Args:
        run: Where to.
        csv: Rows go here; None on other ranks than the first.
        log_every_n_steps: Optimizer steps between rows.
        reference_line: Height of the picture's horizontal line, nats.
        reference_label: What the line means.
    """

    def __init__(
        self,
        run: RunDirectory,
        csv: MetricsCsv | None,
        log_every_n_steps: int,
        reference_line: float | None = None,
        reference_label: str = RESIDUE_FREQUENCIES_LABEL,
    ) -> None:
        self.run, self.csv = run, csv
        self.log_every_n_steps = log_every_n_steps
        self.reference_line, self.reference_label = reference_line, reference_label
        self.latest: dict[str, float] = {}
        self._row: dict[str, Any] | None = None
        self._clock = Stopwatch()
        self._tokens_before = 0

    def on_train_start(self, trainer: pl.Trainer, module: BionemoLightningModule) -> None:  # type: ignore[override]
        """Start the clock."""
        self._tokens_before = module.progress.consumed_tokens
        self._clock.restart()

    def on_train_batch_end(self, trainer: pl.Trainer, module: BionemoLightningModule, *args: Any) -> None:  # type: ignore[override]
        """Measure a row; it is written when it is known whether validation adds to it."""
        step = module.progress.step
        if self._row is not None and self._row["step"] < step:
            self.flush(trainer)
        due = step % self.log_every_n_steps == 0 or step == trainer.max_steps
        if not due or (self._row is not None and self._row["step"] == step) or trainer.fit_loop._should_accumulate():
            return
        self._row = self._measure(trainer, module)

    def _measure(self, trainer: pl.Trainer, module: BionemoLightningModule) -> dict[str, Any]:
        train_loss = module.reduced_loss(module.train_loss)
        progress = module.settle_progress()
        seconds = self._clock.lap()
        tokens_per_s = (progress.consumed_tokens - self._tokens_before) / seconds if seconds else math.nan
        self._tokens_before = progress.consumed_tokens
        row = {
            "step": progress.step,
            "consumed_samples": progress.consumed_samples,
            "consumed_sequences": progress.consumed_sequences,
            "consumed_tokens": progress.consumed_tokens,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": train_loss,
            "tokens_per_s": tokens_per_s,
        }
        self.latest |= {"train_loss": train_loss, "tokens_per_s": tokens_per_s}
        return row

    def on_validation_start(self, trainer: pl.Trainer, module: BionemoLightningModule) -> None:  # type: ignore[override]
        """Leave validation out of the throughput."""
        self._clock.pause()

    def on_validation_end(self, trainer: pl.Trainer, module: BionemoLightningModule) -> None:  # type: ignore[override]
        """Add the validation losses to the step's row, and draw."""
        # Every rank takes part, also one that had no validation batch of its own.
        losses = {
            name: module.reduced_loss(module.val_losses.setdefault(idx, MeanLoss()))
            for idx, name in enumerate(VALIDATION_NAMES[: len(trainer.num_val_batches)])
        }
        losses["val_ppl"] = float(np.exp(np.float64(losses["val_loss"])))
        self.latest |= losses
        if self._row is None or self._row["step"] != module.progress.step:
            self._row = self._measure(trainer, module)
        self._row |= losses
        self.flush(trainer)
        self._draw()
        self._clock.resume()

    def on_train_end(self, trainer: pl.Trainer, module: BionemoLightningModule) -> None:  # type: ignore[override]
        """Write what is left, and the final picture."""
        self.flush(trainer)
        self._draw()

    def flush(self, trainer: pl.Trainer) -> None:
        """Write the row that waits for a validation; no checkpoint may be ahead of its own row."""
        row, self._row = self._row, None
        if row is None:
            return
        for target in trainer.loggers:
            target.log_metrics({key: value for key, value in row.items() if key != "step"}, step=row["step"])
        if self.csv is None:
            return
        self.csv.append(row)
        shown = ("train_loss", "val_loss", "val_loss_masked", "tokens_per_s")
        text = ", ".join(f"{key} {row[key]:.4g}" for key in shown if key in row)
        logger.info("step %d of %d: %s", row["step"], trainer.max_steps, text)

    def _draw(self) -> None:
        if self.csv is not None and self.run.metrics_path.exists():
            draw_loss_plot(
                self.run.metrics_path,
                self.run.plot_path,
                reference_line=self.reference_line,
                reference_label=self.reference_label,
            )


class Stopwatch:
    """Seconds between laps, pauses left out."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start a lap now."""
        self._start = time.perf_counter()
        self._paused_at: float | None = None
        self._paused_s = 0.0

    def pause(self) -> None:
        """Stop counting."""
        self._paused_at = time.perf_counter()

    def resume(self) -> None:
        """Go on counting."""
        if self._paused_at is not None:
            self._paused_s += time.perf_counter() - self._paused_at
            self._paused_at = None

    def lap(self) -> float:
        """Give the seconds of this lap and start the next."""
        now = self._paused_at if self._paused_at is not None else time.perf_counter()
        seconds = now - self._start - self._paused_s
        paused_at = self._paused_at
        self.restart()
        if paused_at is not None:
            self._paused_at = self._start
        return seconds


class CheckpointWriter(pl.Callback):
    """Saves checkpoints of a run, keeps the best and the last, and saves one when the run is told to stop.

    Args:
        run: Where to.
        write: Writes the checkpoint of the current step to a path; called on the first rank only.
        save_interval: Optimizer steps between checkpoints.
        val_check_interval: Optimizer steps between validations; where both meet, the save comes after.
        save_top_k: How many of the best checkpoints are kept, by the monitored metric.
        save_best: Keep the best ones, and a link ``best``.
        save_last: Save when the run ends.
        monitor: Column of the metrics; smaller is better.
        metrics: Where the monitored metric is read.
    """

    def __init__(
        self,
        run: RunDirectory,
        write: Callable[[Path, dict[str, float]], None],
        metrics: MetricsWriter,
        *,
        save_interval: int,
        val_check_interval: int,
        save_top_k: int = 2,
        save_best: bool = True,
        save_last: bool = True,
        monitor: str = "val_loss",
    ) -> None:
        self.run, self.write, self.metrics = run, write, metrics
        self.save_interval, self.val_check_interval = save_interval, val_check_interval
        self.save_top_k, self.save_best, self.save_last = save_top_k, save_best, save_last
        self.monitor = monitor
        self._stop_requested = False
        self._previous_handler: Any = None

    def on_train_start(self, trainer: pl.Trainer, module: BionemoLightningModule) -> None:  # type: ignore[override]
        """Listen for SIGTERM, as schedulers send it before they end a job."""
        try:
            self._previous_handler = signal.signal(signal.SIGTERM, self._on_sigterm)
        except ValueError:  # not in the main thread: somebody else owns the signals
            self._previous_handler = None

    def _on_sigterm(self, signum: int, frame: Any) -> None:
        logger.warning("SIGTERM received: saving a checkpoint after this step, then stopping.")
        self._stop_requested = True

    def on_train_batch_end(self, trainer: pl.Trainer, module: BionemoLightningModule, *args: Any) -> None:  # type: ignore[override]
        """Save where no validation follows; stop where it was asked for."""
        if trainer.fit_loop._should_accumulate():
            return
        step = module.progress.step
        stop = bool(trainer.strategy.reduce_boolean_decision(self._stop_requested, all=False))
        if stop:
            self.save(trainer, module)
            trainer.should_stop = True
            trainer.limit_val_batches = 0  # whoever sent the signal does not wait for a validation
        elif step % self.save_interval == 0 and step % self.val_check_interval:
            self.save(trainer, module)

    def on_validation_end(self, trainer: pl.Trainer, module: BionemoLightningModule) -> None:  # type: ignore[override]
        """Save the step that was just validated."""
        if module.progress.step and module.progress.step % self.save_interval == 0:
            self.save(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: BionemoLightningModule) -> None:  # type: ignore[override]
        """Save the end of the run."""
        if self.save_last:
            self.save(trainer, module)
        if self._previous_handler is not None:
            signal.signal(signal.SIGTERM, self._previous_handler)

    def save(self, trainer: pl.Trainer, module: BionemoLightningModule) -> None:
        """Save the current step unless it is saved already, and remove checkpoints that are no longer kept."""
        progress = module.settle_progress()
        path = self.run.checkpoint_path(progress.step)
        self.metrics.flush(trainer)
        if trainer.is_global_zero and not path.exists():
            self.write(path, self.metrics.latest)
            self.announce(path)
        trainer.strategy.barrier("checkpoint")

    def announce(self, path: Path) -> None:
        """Let a new checkpoint be the last one, and remove those that are no longer kept; on the first rank."""
        self.run.point_to("last", path)
        self._remove_superseded(path)

    def _remove_superseded(self, last: Path) -> None:
        """Keep the last checkpoint and the best ones."""
        scored = []
        for path in self.run.checkpoints():
            metrics = read_json(path / STATE_DIR / "state.json").get("metrics", {})
            scored.append((metrics.get(self.monitor, math.inf), path))
        best = (
            [path for score, path in sorted(scored) if math.isfinite(score)][: self.save_top_k]
            if self.save_best
            else []
        )
        if best:
            self.run.point_to("best", best[0])
        for _, path in scored:
            if path != last and path not in best:
                doomed = path.with_name(f".{path.name}.removed")
                path.rename(doomed)  # a reader sees it whole or not at all
                shutil.rmtree(doomed, ignore_errors=True)


class ProgressBar(pl.Callback):
    """One bar over the optimizer steps, on stderr, only where somebody watches."""

    def __init__(self, metrics: MetricsWriter) -> None:
        self.metrics = metrics
        self._bar: Any = None

    def on_train_start(self, trainer: pl.Trainer, module: BionemoLightningModule) -> None:  # type: ignore[override]
        """Open the bar where the run stands."""
        self._bar = progress_bar(total=trainer.max_steps, unit="step", description="training")
        self._bar.update(module.progress.step)

    def on_train_batch_end(self, trainer: pl.Trainer, module: BionemoLightningModule, *args: Any) -> None:  # type: ignore[override]
        """Move on, with the latest figures."""
        done = module.progress.step - self._bar.n
        if done > 0:
            self._bar.set_postfix({key: f"{value:.4g}" for key, value in self.metrics.latest.items()}, refresh=False)
            self._bar.update(done)

    def on_train_end(self, trainer: pl.Trainer, module: BionemoLightningModule) -> None:  # type: ignore[override]
        """Close the bar."""
        self._bar.close()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error stands on a line of its own."""
        if self._bar is not None:
            self._bar.close()
