# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""When a run saves a checkpoint, which checkpoints are kept, and how the lightning engine writes one."""

import logging
import math
import shutil
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
from torch import nn

from bionemo.llm.checkpoints.hf_directory import HuggingFaceLayout, read_json, save_checkpoint
from bionemo.llm.checkpoints.training_state import STATE_DIR, write_training_state
from bionemo.llm.training.callbacks import MetricsWriter
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.step_accounting import accounting_of


logger = logging.getLogger(__name__)


class CheckpointSink(Protocol):
    """Where the checkpoints of an engine go; every rank calls both methods."""

    def save(
        self, path: Path, module: pl.LightningModule, metrics: Mapping[str, float], written: Callable[[], None]
    ) -> None:
        """Save the current step.

        Args:
            path: Where to.
            module: What is saved, with the optimizer and the schedule of its trainer.
            metrics: Latest metrics, recorded beside the progress.
            written: Called on the first rank once the checkpoint is complete.
        """

    def finish(self, trainer: pl.Trainer, *, blocking: bool) -> None:
        """Complete a save under way that all ranks have written; ``blocking`` waits for it."""


class HuggingFaceSink:
    """Writes checkpoints in Hugging Face layout, from the first rank, which holds the whole model.

    Args:
        layout: File format of the model family; it is given the Lightning module's ``config``.
        agreement: Settings that a continued run must share.
    """

    def __init__(self, layout: HuggingFaceLayout[Any], agreement: Mapping[str, Any]) -> None:
        self.layout, self.agreement = layout, agreement

    def save(
        self, path: Path, module: pl.LightningModule, metrics: Mapping[str, float], written: Callable[[], None]
    ) -> None:
        """Save the current step on the first rank; the others wait."""
        trainer, model, progress = module.trainer, module.module, accounting_of(module).progress
        assert isinstance(model, nn.Module)
        if trainer.is_global_zero:
            optimizer, schedule = module.optimizers(use_pl_optimizer=False), module.lr_schedulers()

            def write_more(directory: Path) -> None:
                write_training_state(
                    directory, model, optimizer, schedule, progress, self.agreement, metrics=dict(metrics)
                )

            save_checkpoint(path, module.config, model.state_dict(), self.layout, write_more=write_more)
            written()
        trainer.strategy.barrier("checkpoint")

    def finish(self, trainer: pl.Trainer, *, blocking: bool) -> None:
        """Do nothing: ``save`` has waited."""


class CheckpointWriter(pl.Callback):
    """Saves checkpoints of a run, keeps the best and the last, and saves one when the run is told to stop.

    Args:
        run: Where to.
        sink: Writes the checkpoint of the current step.
        metrics: Where the monitored metric is read.
        save_interval: Optimizer steps between checkpoints.
        val_check_interval: Optimizer steps between validations; where both meet, the save comes after.
        save_top_k: How many of the best checkpoints are kept, by the monitored metric.
        save_best: Keep the best ones, and a link ``best``.
        save_last: Save when the run ends.
        monitor: Column of the metrics; smaller is better.
    """

    def __init__(
        self,
        run: RunDirectory,
        sink: CheckpointSink,
        metrics: MetricsWriter,
        *,
        save_interval: int,
        val_check_interval: int,
        save_top_k: int = 2,
        save_best: bool = True,
        save_last: bool = True,
        monitor: str = "val_loss",
    ) -> None:
        self.run, self.sink, self.metrics = run, sink, metrics
        self.save_interval, self.val_check_interval = save_interval, val_check_interval
        self.save_top_k, self.save_best, self.save_last = save_top_k, save_best, save_last
        self.monitor = monitor
        self._saved: Path | None = None
        self._stop_requested = False
        self._previous_handler: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen for SIGTERM, as schedulers send it before they end a job."""
        try:
            self._previous_handler = signal.signal(signal.SIGTERM, self._on_sigterm)
        except ValueError:  # not in the main thread: somebody else owns the signals
            self._previous_handler = None

    def _on_sigterm(self, signum: int, frame: Any) -> None:
        logger.warning("SIGTERM received: saving a checkpoint after this step, then stopping.")
        self._stop_requested = True

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Save where no validation follows; stop where it was asked for."""
        self.sink.finish(trainer, blocking=False)
        if trainer.fit_loop._should_accumulate():
            return
        step = accounting_of(pl_module).progress.step
        stop = bool(trainer.strategy.reduce_boolean_decision(self._stop_requested, all=False))
        if stop:
            self.save(trainer, pl_module)
            trainer.should_stop = True
            trainer.limit_val_batches = 0  # whoever sent the signal does not wait for a validation
        elif step % self.save_interval == 0 and step % self.val_check_interval:
            self.save(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the step that was just validated."""
        step = accounting_of(pl_module).progress.step
        if step and step % self.save_interval == 0:
            self.save(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end of the run."""
        if self.save_last:
            self.save(trainer, pl_module)
        self.sink.finish(trainer, blocking=True)
        if self._previous_handler is not None:
            signal.signal(signal.SIGTERM, self._previous_handler)

    def save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the current step unless it is saved already, and remove checkpoints that are no longer kept."""
        path = self.run.checkpoint_path(accounting_of(pl_module).settle(trainer).step)
        self.metrics.flush(trainer)
        if path == self._saved or trainer.strategy.broadcast(path.exists()):
            return
        self._saved = path
        self.sink.save(path, pl_module, self.metrics.latest, partial(self.announce, path))

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
