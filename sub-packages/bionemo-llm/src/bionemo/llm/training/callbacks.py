# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Lightning callbacks of a run: metrics, picture and progress bar."""

import logging
import math
import time
from typing import Any, Protocol

import lightning.pytorch as pl
import numpy as np

from bionemo.core.progress import StepProgress
from bionemo.llm.training.loss_plot import MASKED_LM_TEXTS, RESIDUE_FREQUENCIES_LABEL, PlotTexts, draw_loss_plot
from bionemo.llm.training.metrics_csv import MetricsCsv
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.step_accounting import MeanLoss, StepAccounting, accounting_of


logger = logging.getLogger(__name__)

VALIDATION_NAMES = ("val_loss", "val_loss_masked")
"""What the first and the second validation loader measure."""

SHOWN = {"train_loss": "loss", "val_loss": "val_loss", "tokens_per_s": "tokens/s"}
"""Metrics beside the progress bar, and what they are called there."""


class ValidationMetrics(Protocol):
    """What is measured in validation beside the loss; every rank calls both methods."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in ``metrics.csv``."""

    def take(self) -> dict[str, float]:
        """Return the metrics over all ranks since the last call, NaN where one is not defined."""


class MetricsWriter(pl.Callback):
    """Writes ``metrics.csv`` and ``loss.png``, and shows the latest figures.

    Throughput counts tokens of sequences per second of all ranks, validation and checkpoints left out.

    Args:
        run: Where to; the first row makes the file, or cuts one of a resumed run back to ``start_step``.
        log_every_n_steps: Optimizer steps between rows.
        reference_line: Height of the picture's horizontal line, nats.
        reference_label: What the line means.
        start_step: Optimizer steps done before.
        texts: Title and vertical axis of the picture.
        validation: What else is measured in validation, instead of a perplexity; None: nothing.
    """

    def __init__(
        self,
        run: RunDirectory,
        log_every_n_steps: int,
        reference_line: float | None = None,
        reference_label: str = RESIDUE_FREQUENCIES_LABEL,
        start_step: int = 0,
        texts: PlotTexts = MASKED_LM_TEXTS,
        validation: ValidationMetrics | None = None,
    ) -> None:
        self.run, self.start_step, self.texts = run, start_step, texts
        self.validation = validation
        self.log_every_n_steps = log_every_n_steps
        self.reference_line, self.reference_label = reference_line, reference_label
        self.latest: dict[str, float] = {}
        self.logged_step = 0
        self._csv: MetricsCsv | None = None
        self._measured: tuple[int, dict[str, float]] = (-1, {})
        self._row: dict[str, Any] | None = None
        self._clock = Stopwatch()
        self._tokens_before = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._tokens_before = accounting_of(pl_module).progress.consumed_tokens
        self._clock.restart()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Measure a row; it is written when it is known whether validation adds to it."""
        step = accounting_of(pl_module).progress.step
        if self._row is not None and self._row["step"] < step:
            self.flush(trainer)
        due = step % self.log_every_n_steps == 0 or step == trainer.max_steps
        if not due or (self._row is not None and self._row["step"] == step) or trainer.fit_loop._should_accumulate():
            return
        self._row = self._measure(trainer, accounting_of(pl_module))

    def _measure(self, trainer: pl.Trainer, accounting: StepAccounting) -> dict[str, Any]:
        train_loss = accounting.mean(accounting.train_loss, trainer, advice=self.run.advice())
        progress = accounting.settle(trainer)
        seconds = self._clock.lap()
        tokens_per_s = (progress.consumed_tokens - self._tokens_before) / seconds if seconds else math.nan
        self._tokens_before = progress.consumed_tokens
        row = {
            "step": progress.step,
            "consumed_samples": progress.consumed_samples,
            "consumed_sequences": progress.consumed_sequences,
            "consumed_tokens": progress.consumed_tokens,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "tokens_per_s": tokens_per_s,
        }
        if not math.isnan(train_loss):  # else no token of these steps had a label
            row["train_loss"] = train_loss
        self._note(progress.step, {name: row[name] for name in ("train_loss", "tokens_per_s") if name in row})
        return row

    def _note(self, step: int, values: dict[str, float]) -> None:
        self.latest |= values
        before = self._measured[1] if self._measured[0] == step else {}
        self._measured = (step, before | values)

    def measured_at(self, step: int) -> dict[str, float]:
        """Return the metrics that were measured at a step: nothing stale."""
        return dict(self._measured[1]) if self._measured[0] == step else {}

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave validation out of the throughput."""
        self._clock.pause()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the validation losses to the step's row, and draw."""
        # Every rank takes part, also one that had no validation batch of its own.
        accounting = accounting_of(pl_module)
        losses = {
            name: accounting.mean(accounting.val_losses.setdefault(idx, MeanLoss()), trainer, advice=self.run.advice())
            for idx, name in enumerate(VALIDATION_NAMES[: len(trainer.num_val_batches)])
        }
        losses |= self._more(losses["val_loss"])
        losses = {name: value for name, value in losses.items() if not math.isnan(value)}
        self._note(accounting.progress.step, losses)
        if self._row is None or self._row["step"] != accounting.progress.step:
            self._row = self._measure(trainer, accounting)
        self._row |= losses
        self.flush(trainer)
        self._draw(trainer)
        self._clock.resume()

    def _more(self, val_loss: float) -> dict[str, float]:
        if self.validation is not None:
            return self.validation.take()
        with np.errstate(over="ignore"):  # of a diverged run: inf
            return {"val_ppl": float(np.exp(np.float64(val_loss)))}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what is left, and the final picture."""
        self.flush(trainer)
        self._draw(trainer)

    def flush(self, trainer: pl.Trainer) -> None:
        """Write the row that waits for a validation; no checkpoint may be ahead of its own row."""
        row, self._row = self._row, None
        if row is None:
            return
        for target in trainer.loggers:
            target.log_metrics({key: value for key, value in row.items() if key != "step"}, step=row["step"])
        if not trainer.is_global_zero:
            return
        more = () if self.validation is None else self.validation.columns
        if self._csv is None:
            self._csv = MetricsCsv.resume_from(self.run.metrics_path, self.start_step, more)
        self._csv.append(row)
        shown = ("train_loss", "val_loss", "val_loss_masked", *more, "tokens_per_s")
        text = ", ".join(f"{key} {row[key]:.4g}" for key in shown if key in row)
        logger.info("step %d of %d: %s", row["step"], trainer.max_steps, text)
        self.logged_step = row["step"]

    def _draw(self, trainer: pl.Trainer) -> None:
        if not (trainer.is_global_zero and self.run.metrics_path.exists()):
            return
        try:
            draw_loss_plot(
                self.run.metrics_path,
                self.run.plot_path,
                reference_line=self.reference_line,
                reference_label=self.reference_label,
                texts=self.texts,
            )
        except Exception as error:  # noqa: BLE001 a picture never ends a run
            logger.warning("%s: not drawn (%s)", self.run.plot_path, error)


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
        """Continue counting."""
        if self._paused_at is not None:
            self._paused_s += time.perf_counter() - self._paused_at
            self._paused_at = None

    def lap(self) -> float:
        """Return the seconds of this lap and start the next."""
        now = self._paused_at if self._paused_at is not None else time.perf_counter()
        seconds = now - self._start - self._paused_s
        paused_at = self._paused_at
        self.restart()
        if paused_at is not None:
            self._paused_at = self._start
        return seconds


class ProgressBar(pl.Callback):
    """Step, loss, tokens/s and time left: a bar on a terminal, elsewhere a log line a minute.

    Args:
        metrics: Knows the latest figures.
    """

    def __init__(self, metrics: MetricsWriter) -> None:
        self.metrics = metrics
        self._progress: StepProgress | None = None
        self._logged_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar where the run stands."""
        self._progress = StepProgress(trainer.max_steps, completed=accounting_of(pl_module).progress.step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step that was done, with the latest figures."""
        if self._progress is None or trainer.fit_loop._should_accumulate():
            return
        if self.metrics.logged_step > self._logged_step:
            self._logged_step = self.metrics.logged_step
            self._progress.noted()
        figures = {SHOWN[name]: f"{value:.4g}" for name, value in self.metrics.latest.items() if name in SHOWN}
        self._progress.update(accounting_of(pl_module).progress.step, **figures)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error stands on a line of its own."""
        self.close()

    def close(self) -> None:
        """Close the bar where there is one."""
        if self._progress is not None:
            self._progress.close()
