# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""When a run saves a checkpoint, which checkpoints are kept, and how the lightning engine writes one."""

import logging
import math
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from bionemo.core.errors import BionemoError
from bionemo.llm.checkpoints.hf_directory import HuggingFaceLayout, save_checkpoint
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.model_card import ModelCard, write_model_card
from bionemo.llm.checkpoints.training_state import write_training_state
from bionemo.llm.training.callbacks import MetricsWriter
from bionemo.llm.training.ranks.sharded_model import local, reshard
from bionemo.llm.training.run_card import reached
from bionemo.llm.training.run_directory import STATE_DIR, RunDirectory
from bionemo.llm.training.step_accounting import accounting_of
from bionemo.llm.training.stop_requests import StopRequests


logger = logging.getLogger(__name__)


class CheckpointSink(Protocol):
    """Where the checkpoints of a training engine go; every rank calls both methods."""

    def save(
        self, path: Path, module: pl.LightningModule, metrics: Mapping[str, float], written: Callable[[], None]
    ) -> None:
        """Save the current step.

        Args:
            path: Where to.
            module: What is saved, with the optimizer and the schedule of its trainer.
            metrics: Metrics of this step, recorded beside the progress.
            written: Called on the first rank once the checkpoint is complete.
        """

    def finish(self, trainer: pl.Trainer, *, blocking: bool) -> None:
        """Complete a save under way that all ranks have written; ``blocking`` waits for it."""


class HuggingFaceSink:
    """Writes checkpoints in Hugging Face layout, from the first rank, which holds the whole model.

    Args:
        layout: File format of the model family; it is given the Lightning module's ``config``.
        fingerprint: Settings that a resumed run must share.
        record: Further plain values for the record, such as the run's id.
        card: Becomes the README.md of each checkpoint; None: there is none.
        gather_extra: Given the model, returns what writes further files of it, such as adapters, into the unfinished
            checkpoint.
    """

    def __init__(
        self,
        layout: HuggingFaceLayout[Any],
        fingerprint: Mapping[str, Any],
        record: Mapping[str, Any] | None = None,
        *,
        card: ModelCard | None = None,
        gather_extra: Callable[[nn.Module], Callable[[Path], None]] | None = None,
    ) -> None:
        self.layout, self.fingerprint, self.record, self.card = layout, fingerprint, dict(record or {}), card
        self.gather_extra = gather_extra

    def save(
        self, path: Path, module: pl.LightningModule, metrics: Mapping[str, float], written: Callable[[], None]
    ) -> None:
        """Save the current step on the first rank; the others wait."""
        trainer, model, progress = module.trainer, module.module, accounting_of(module).progress
        assert isinstance(model, nn.Module)
        if trainer.is_global_zero:
            optimizer: Any = module.optimizers(use_pl_optimizer=False)
            schedule: Any = module.lr_schedulers()

            def write_more(directory: Path) -> None:
                write_training_state(
                    directory, model, optimizer, schedule, progress, self.fingerprint,
                    metrics=dict(metrics), **self.record,
                )  # fmt: skip
                if self.card is not None:
                    write_model_card(directory, self.card, reached(progress, metrics), name=path.name)
                if self.gather_extra is not None:
                    self.gather_extra(model)(directory)

            save_checkpoint(path, module.config, model.state_dict(), self.layout, write_more=write_more)
            written()
        trainer.strategy.barrier("checkpoint")

    def finish(self, trainer: pl.Trainer, *, blocking: bool) -> None:
        """Do nothing: ``save`` has waited."""


class CheckpointWriter(pl.Callback):
    """Saves checkpoints of a run by steps and by time, keeps the best and the last, and stops when it is told to.

    Only finite states are saved, so that a run that diverges leaves its last good checkpoint.

    Args:
        run: Where to.
        sink: Writes the checkpoint of the current step; None: nothing is saved.
        metrics: Where the monitored metric is read.
        stops: What signals have asked for.
        save_interval: Optimizer steps between checkpoints.
        save_every_minutes: Age of the last checkpoint at which another one is saved, by the first rank's clock; 0: no
            limit.
        val_check_interval: Optimizer steps between validations; where a save meets one, it comes after.
        save_top_k: How many of the best checkpoints are kept, by the monitored metric.
        save_best: Keep the best ones, and a link ``best``.
        save_last: Save when the run ends.
        monitor: Column of the metrics.
        higher_is_better: Whether larger values of it are better; otherwise smaller ones.
        run_id: Checkpoints with another one are never removed.
    """

    def __init__(
        self,
        run: RunDirectory,
        sink: CheckpointSink | None,
        metrics: MetricsWriter,
        stops: StopRequests,
        *,
        save_interval: int,
        val_check_interval: int,
        save_every_minutes: float = 10.0,
        save_top_k: int = 2,
        save_best: bool = True,
        save_last: bool = True,
        monitor: str = "val_loss",
        higher_is_better: bool = False,
        run_id: str | None = None,
    ) -> None:
        self.run, self.sink, self.metrics, self.stops = run, sink, metrics, stops
        self.save_interval, self.val_check_interval = save_interval, val_check_interval
        self.save_every_s = 60 * save_every_minutes or math.inf
        self.save_top_k, self.save_best, self.save_last = save_top_k, save_best, save_last
        self.monitor, self.run_id = monitor, run_id
        self.sign = -1.0 if higher_is_better else 1.0
        self.clock = time.monotonic
        self._host_group: Any = None
        self._saved: Path | None = None
        self._saved_at = 0.0
        self._due = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; on GPUs, let the ranks' processes speak to each other without their devices."""
        self._saved_at = self.clock()
        if trainer.world_size > 1 and torch.distributed.get_backend() != "gloo":
            self._host_group = torch.distributed.new_group(backend="gloo")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop where it was asked for; save what is due, unless a validation comes first."""
        if self.sink is not None:
            self.sink.finish(trainer, blocking=False)
        if trainer.fit_loop._should_accumulate():
            return
        self.stops.has_work = True
        signum, is_old = self._agree(trainer)
        self._stop(signum, trainer, pl_module)
        step = accounting_of(pl_module).progress.step
        self._due = is_old or step % self.save_interval == 0
        validates = trainer.enable_validation and step % self.val_check_interval == 0
        if self._due and not validates:
            self.save(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop where it was asked for, with what was trained before this validation."""
        self._stop(self._agree(trainer)[0], trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the step that was just validated, if it is due."""
        if self._due:
            self.save(trainer, pl_module)
        self._stop(self._agree(trainer)[0], trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end of the run."""
        if self.save_last:
            self.save(trainer, pl_module)
        if self.sink is not None:
            self.sink.finish(trainer, blocking=True)

    def _agree(self, trainer: pl.Trainer) -> tuple[int, bool]:
        """Return the signal that any rank has received, and whether the first rank finds the last checkpoint old."""
        is_old = trainer.is_global_zero and self.clock() - self._saved_at >= self.save_every_s
        if trainer.world_size == 1:
            return self.stops.signum, is_old
        # On the host: a vote on the device would wait, at every step, until that has done all its work.
        votes = torch.tensor([self.stops.signum, int(is_old)])
        signum, old = max_over_ranks(votes, trainer, self._host_group).tolist()
        return int(signum), bool(old)

    def _stop(self, signum: int, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save and end the run if there was a signal.

        Raises:
            RunStopped: There was one.
        """
        if not signum:
            return
        self.save(trainer, pl_module)
        if self.sink is not None:
            self.sink.finish(trainer, blocking=True)
        name, step = signal.Signals(signum).name, accounting_of(pl_module).progress.step
        saved = "nothing saved" if self.sink is None else f"saved in {self.run.checkpoint_path(step)}"
        logger.warning("stopped by %s at step %d, %s. --resume-if-exists continues the run.", name, step, saved)
        raise self.stops.stopped(self.stops.exit_code(signum, trainer))

    def save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the current step unless it is saved already, and remove checkpoints that are no longer kept.

        Raises:
            BionemoError: The state is not finite; the message names the last good checkpoint.
        """
        accounting = accounting_of(pl_module)
        path = self.run.checkpoint_path(accounting.settle(trainer).step)
        self.metrics.flush(trainer)
        self._due, self._saved_at = False, self.clock()
        if self.sink is None or path == self._saved or trainer.strategy.broadcast(path.exists()):
            return
        self._check_finite(trainer, pl_module)
        if trainer.is_global_zero:
            self.run.checkpoints_dir.mkdir(parents=True, exist_ok=True)
        self._saved = path
        self.sink.save(
            path, pl_module, self.metrics.measured_at(accounting.progress.step), partial(self.announce, path)
        )

    def _check_finite(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse to save weights that are not finite.

        Raises:
            BionemoError: On all ranks, if any has such a weight.
        """
        reshard(pl_module)
        own = [local(parameter.detach()) for parameter in pl_module.parameters()]
        norms = torch._foreach_norm([values for values in own if values.numel()], math.inf)
        finite = torch.stack([norm.float() for norm in norms]).isfinite().all()
        broken = max_over_ranks((~finite).int().reshape(1).to(trainer.strategy.root_device), trainer)
        if broken.item():
            step = accounting_of(pl_module).progress.step
            raise BionemoError(f"the weights are not finite after step {step}: not saved. {self.run.advice()}")

    def announce(self, path: Path) -> None:
        """Link ``last`` to a new checkpoint, and remove those that are no longer kept; on the first rank."""
        self.run.point_to("last", path)
        self._remove_superseded(path)

    def _remove_superseded(self, last: Path) -> None:
        """Keep the last checkpoint and the best ones."""
        scored = []
        for path in self.run.checkpoints():
            state = read_json(path / STATE_DIR / "state.json")
            if state.get("run_id") in (None, self.run_id):
                scored.append((self.sign * state.get("metrics", {}).get(self.monitor, self.sign * math.inf), path))
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


def max_over_ranks(values: Tensor, trainer: pl.Trainer, group: Any = None) -> Tensor:
    """Return the elementwise maximum of an integer tensor over all ranks, by a process group or the default one."""
    if trainer.world_size == 1:
        return values
    largest = values.clone()
    torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX, group=group)
    return largest
