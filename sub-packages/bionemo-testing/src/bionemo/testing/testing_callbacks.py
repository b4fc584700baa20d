# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Callbacks that write down what happens in a run, for comparing an interrupted run with a continuous one.

They listen to Lightning's hooks and keep what they saw in ``data``. NeMo's Megatron strategy draws its batches itself,
so there inputs are seen by its hook of each micro-batch; everything else is at the same places. A module that counts
its own progress in ``module.progress`` (``step``, ``consumed_samples``), as ours does, is believed; else Lightning's
counters count.
"""

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bionemo.core.errors import ConfigError
from bionemo.core.optional_deps import require
from bionemo.testing.harnesses.mode import Mode
from bionemo.testing.torch import recursive_detach


if TYPE_CHECKING:
    import lightning.pytorch as pl
else:
    pl = require("lightning.pytorch", extra="bionemo-testing[lightning]")


def global_step(trainer: Any, module: Any) -> int:
    """Optimizer steps done, those before a resume included."""
    progress = getattr(module, "progress", None)
    return int(trainer.global_step if progress is None else progress.step)


def consumed_samples(trainer: Any, module: Any) -> int:
    """Training samples consumed so far, those before a resume included.

    Raises:
        ConfigError: Neither ``module.progress`` nor the data module counts them.
    """
    for owner in (getattr(module, "progress", None), trainer.datamodule):
        if owner is not None and hasattr(owner, "consumed_samples"):
            return int(owner.consumed_samples)
    raise ConfigError("Nobody counts consumed samples: give the module a progress, or the data module the attribute.")


class BaseInterruptedVsContinuousCallback(pl.Callback):
    """Collects one entry of ``data`` per step or batch; copies of it start empty."""

    def __init__(self) -> None:
        self.data: Any = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        other = copy(self)
        other.data = []
        return other


class _PerStepCallback(BaseInterruptedVsContinuousCallback):
    """Records after each optimizer step, however many batches it accumulates."""

    def __init__(self) -> None:
        super().__init__()
        self._last_step = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Count from where a resumed run stands."""
        self._last_step = global_step(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record, if this batch ended a step."""
        step = global_step(trainer, pl_module)
        if step > self._last_step:
            self._last_step = step
            self.data.append(self.read(trainer, pl_module))

    def read(self, trainer: Any, pl_module: Any) -> Any:
        """What to record."""
        raise NotImplementedError


class LearningRateCallback(_PerStepCallback):
    """Learning rate of the first parameter group after each step, as a 0-d array."""

    def read(self, trainer: Any, pl_module: Any) -> np.ndarray:
        """See the class."""
        return np.array(trainer.optimizers[0].param_groups[0]["lr"])


class GlobalStepStateCallback(_PerStepCallback):
    """Number of each step."""

    def read(self, trainer: Any, pl_module: Any) -> np.ndarray:
        """See the class."""
        return np.array(global_step(trainer, pl_module))


class ConsumedSamplesCallback(_PerStepCallback):
    """Samples consumed after each step."""

    def read(self, trainer: Any, pl_module: Any) -> np.ndarray:
        """See the class."""
        return np.array(consumed_samples(trainer, pl_module))


class OptimizerStateCallback(_PerStepCallback):
    """State of every optimizer after each step."""

    def read(self, trainer: Any, pl_module: Any) -> list[Any]:
        """See the class."""
        return [
            recursive_detach(inner.state_dict()["state"])
            for optimizer in trainer.optimizers
            for inner in torch_optimizers(optimizer)
        ]


def torch_optimizers(optimizer: Any) -> list[Any]:
    """Return the torch optimizers inside NeMo's wrapper of Megatron's, or a torch optimizer itself."""
    inner = getattr(optimizer, "mcore_optimizer", None)
    if inner is None:
        return [optimizer]
    parts = getattr(inner, "chained_optimizers", [inner])
    return [part.optimizer for part in parts if part.optimizer is not None]


def draws_batches_itself(trainer: Any) -> bool:
    """Whether the strategy takes batches from the loader inside a step, as NeMo's does."""
    return hasattr(trainer.strategy, "megatron_parallel")


class _OutputCallback(BaseInterruptedVsContinuousCallback):
    """Records what the LightningModule's ``forward`` returns; it must be called as ``self(batch)`` to be seen."""

    def __init__(self) -> None:
        super().__init__()
        self._hook: Any = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Listen to the module's forward."""
        self._hook = pl_module.register_forward_hook(lambda _module, _args, output: self._see(trainer, output))

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Stop listening."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Stop listening."""
        self.teardown(trainer, pl_module, "fit")

    def _see(self, trainer: Any, output: Any) -> None:
        if self.wants(trainer):
            self.data.append(recursive_detach(output))

    def wants(self, trainer: Any) -> bool:
        """Whether outputs count in the trainer's current state."""
        raise NotImplementedError


class TrainOutputCallback(_OutputCallback):
    """Output of each training batch."""

    def wants(self, trainer: Any) -> bool:
        """See the class."""
        return bool(trainer.training)


class ValidOutputCallback(_OutputCallback):
    """Output of each validation batch; the sanity check does not count."""

    def wants(self, trainer: Any) -> bool:
        """See the class."""
        return bool(trainer.validating)


class TrainInputCallback(BaseInterruptedVsContinuousCallback):
    """Each training batch; under Megatron each micro-batch."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Record the batch."""
        if not draws_batches_itself(trainer):
            self.data.append(recursive_detach(batch))

    def on_megatron_microbatch_start(self, step: Any, batch: Any, forward_callback: Any) -> None:
        """Record the micro-batch."""
        if step.trainer.training:
            self.data.append(recursive_detach(batch))


class ValidInputCallback(BaseInterruptedVsContinuousCallback):
    """Each validation batch; the sanity check does not count."""

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Record the batch."""
        if not (trainer.sanity_checking or draws_batches_itself(trainer)):
            self.data.append(recursive_detach(batch))

    def on_megatron_microbatch_start(self, step: Any, batch: Any, forward_callback: Any) -> None:
        """Record the micro-batch."""
        if step.trainer.validating:
            self.data.append(recursive_detach(batch))


class TrainLossCallback(BaseInterruptedVsContinuousCallback):
    """Loss that each ``training_step`` returned."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record the loss."""
        self.data.append(_loss_of(outputs))


class ValidLossCallback(BaseInterruptedVsContinuousCallback):
    """Loss that each ``validation_step`` returned, or the running sum where the module has ``accounting``."""

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Record the loss."""
        if trainer.sanity_checking:
            return
        if outputs is not None:
            self.data.append(_loss_of(outputs))
            return
        losses = getattr(getattr(pl_module, "accounting", None), "val_losses", {})
        if dataloader_idx in losses:
            self.data.append(recursive_detach(losses[dataloader_idx]._total))


def _loss_of(outputs: Any) -> Any:
    return recursive_detach(outputs["loss"] if isinstance(outputs, Mapping) else outputs)


class StopAfterValidEpochEndCallback(pl.Callback):
    """Ends the run after its first validation that is not the sanity check."""

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Ask the trainer to stop."""
        if not trainer.sanity_checking:
            trainer.should_stop = True


class SignalAfterGivenStepCallback(pl.Callback):
    """Interrupts the run at a step, by a signal to its own process as a cluster would, or by the trainer's own flag.

    Args:
        stop_step: The step after which it happens.
        signal_: Sent to this process.
        use_trainer_should_stop: Set ``trainer.should_stop`` and send nothing.
        stop_before_step: One step earlier.
    """

    def __init__(
        self,
        stop_step: int,
        signal_: signal.Signals = signal.SIGUSR2,
        use_trainer_should_stop: bool = False,
        stop_before_step: bool = False,
    ) -> None:
        self.stop_step = stop_step
        self.signal = signal_
        self.use_trainer_should_stop = use_trainer_should_stop
        self.stop_before_step = stop_before_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Interrupt, if it is time."""
        if global_step(trainer, pl_module) < self.stop_step - int(self.stop_before_step):
            return
        if self.use_trainer_should_stop:
            trainer.should_stop = True
        else:
            os.kill(os.getpid(), self.signal)


class AbstractStopAndGoCallback(ABC, BaseInterruptedVsContinuousCallback):
    """Keeps one record of metadata: of the validation's end (STOP), or of the training's start (RESUME).

    Args:
        mode: ``Mode.STOP`` or ``Mode.RESUME``.

    Raises:
        ValueError: Another mode.
    """

    def __init__(self, mode: Mode = Mode.STOP) -> None:
        super().__init__()
        if mode not in (Mode.STOP, Mode.RESUME):
            raise ConfigError(f"mode must be 'stop' or 'go', got {mode}")
        self.mode = mode

    @abstractmethod
    def get_metadata(self, trainer: Any, pl_module: Any) -> Any:
        """Look at the run."""

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Look, when this is the run that is stopped."""
        if self.mode is Mode.STOP and not trainer.sanity_checking:
            self.data = self.get_metadata(trainer, pl_module)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Look, when resuming: Lightning starts no epoch anew in the middle of one."""
        if self.mode is Mode.RESUME:
            self.data = self.get_metadata(trainer, pl_module)


class TrainValInitConsumedSamplesStopAndGoCallback(AbstractStopAndGoCallback):
    """Where the samplers of training and validation began: 0 in a new run, more in a resumed one's training."""

    def get_metadata(self, trainer: Any, pl_module: Any) -> tuple[int, int]:
        """See the class."""
        valid = trainer.val_dataloaders
        if valid is None:  # before the first validation of a resumed run there is no loader yet
            valid = trainer.fit_loop.epoch_loop.val_loop._data_source.dataloader()
        return _initial_samples(trainer.train_dataloader), _initial_samples(valid)


def _initial_samples(loader: Any) -> int:
    """Samples, or packs and windows of packs, that a loader's sampler leaves out at the beginning."""
    loader = loader[0] if isinstance(loader, list | tuple) else loader
    for sampler in (getattr(loader, "batch_sampler", None), getattr(loader, "sampler", None)):
        if sampler is not None and hasattr(sampler, "consumed_samples"):
            return int(sampler.consumed_samples)
        if sampler is not None and hasattr(sampler, "position"):
            return int(sum(sampler.position))
        if isinstance(sampler, range):
            return sampler.start
    raise ConfigError(f"{type(loader).__name__}: its sampler has neither consumed_samples nor position to look at.")
