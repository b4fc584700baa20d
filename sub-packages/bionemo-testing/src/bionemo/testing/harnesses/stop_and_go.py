# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Proves that stopping a run and resuming it changes nothing, by comparing it with one that was never stopped."""

import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest

from bionemo.core.optional_deps import require
from bionemo.testing import testing_callbacks as recording
from bionemo.testing.harnesses.mode import Mode
from bionemo.testing.torch import recursive_assert_approx_equal


if TYPE_CHECKING:
    import lightning.pytorch as pl
else:
    pl = require("lightning.pytorch", extra="bionemo-testing[lightning]")

CallbackDict = dict[Mode, dict[type, Any]]
"""Callbacks of each mode, by their class."""

RECORDING_CALLBACKS = (
    recording.LearningRateCallback,
    recording.GlobalStepStateCallback,
    recording.ConsumedSamplesCallback,
    recording.OptimizerStateCallback,
    recording.TrainInputCallback,
    recording.TrainOutputCallback,
    recording.TrainLossCallback,
    recording.ValidInputCallback,
    recording.ValidOutputCallback,
    recording.ValidLossCallback,
)
_OUTPUT_CALLBACKS = (recording.TrainOutputCallback, recording.ValidOutputCallback)


def get_callback(callbacks: CallbackDict, mode: Mode, callback_type: type) -> Any:
    """The callback of this class in this mode."""
    return callbacks[mode][callback_type]


class StopAndGoHarness(ABC):
    """Trains the same thing twice, once stopped after its first validation and resumed, once straight through.

    Inherit from it in a class named ``Test…``, set the attributes below, write ``setup_model``, and let the class's
    own ``setup_class`` call the inherited one and then ``run_stop_and_go()``. The tests come with it.

    Attributes:
        num_steps: Optimizer steps of the whole run.
        val_check_interval: Steps between validations; the run is stopped after the first one.
        limit_val_batches: Batches of a validation.
        lr: For ``setup_model`` to use.
        precision: Lightning's name of it.
        output_tensor_atol, output_tensor_rtol: Tolerances of outputs.
        atol, rtol: Tolerances of everything else. On a CPU in float32 all four may be 0: equal bit for bit.
    """

    num_steps: int
    val_check_interval: int
    limit_val_batches: int
    lr: float = 1e-4
    precision: Literal["16-mixed", "bf16-mixed", "32"]
    output_tensor_atol: float = 1e-3
    output_tensor_rtol: float = 1e-4
    atol: float = 1e-4
    rtol: float = 1e-4

    tempdir: ClassVar[Path]
    metadata_dir: ClassVar[Path]
    exp_name: ClassVar[str]
    callbacks: ClassVar[CallbackDict]
    logger: ClassVar[Any]

    @classmethod
    def setup_class(cls) -> None:
        """Make the folder and the callbacks."""
        cls.exp_name = cls.__name__
        cls.callbacks = cls.get_default_callbacks()
        cls._new_tempdir()

    @classmethod
    def teardown_class(cls) -> None:
        """Remove the folder."""
        shutil.rmtree(cls.tempdir, ignore_errors=True)

    @classmethod
    def _new_tempdir(cls) -> None:
        cls.tempdir = Path(tempfile.mkdtemp(prefix=f"{cls.exp_name}-"))
        cls.metadata_dir = cls.tempdir / "metadata"
        cls.metadata_dir.mkdir()
        cls.logger = pl.loggers.CSVLogger(save_dir=cls.tempdir, name=cls.exp_name)

    @classmethod
    @abstractmethod
    def setup_model(cls, mode: Mode) -> tuple[Any, Any, Any]:
        """Build everything anew: the LightningModule, the data module, and an optimizer module or None.

        An optimizer that is not None is connected to the module (``optimizer.connect(module)``). A training engine
        with checkpoints of its own reads ``cls.latest_checkpoint()`` here when ``mode`` is RESUME.
        """

    @classmethod
    def get_default_callbacks(cls) -> CallbackDict:
        """Recording callbacks, shared by STOP and RESUME so that their records form one list, and those that act."""
        interrupted: dict[type, Any] = {callback_type: callback_type() for callback_type in RECORDING_CALLBACKS}
        continuous: dict[type, Any] = {callback_type: callback_type() for callback_type in RECORDING_CALLBACKS}
        initial = recording.TrainValInitConsumedSamplesStopAndGoCallback
        return {
            Mode.STOP: {
                **interrupted,
                initial: initial(Mode.STOP),
                recording.StopAfterValidEpochEndCallback: recording.StopAfterValidEpochEndCallback(),
            },
            Mode.RESUME: {**interrupted, initial: initial(Mode.RESUME)},
            Mode.CONTINUOUS: continuous,
        }

    @classmethod
    def checkpoint_callbacks(cls, mode: Mode) -> list[Any]:
        """Callbacks that save: here Lightning's own, in STOP alone.

        Lightning before 2.5 repeats a part of the validation when it resumes from such a checkpoint; that is noticed.
        """
        if mode is not Mode.STOP:
            return []
        folder = cls.tempdir / "checkpoints"
        return [pl.callbacks.ModelCheckpoint(folder, save_last=True, monitor="val_loss", save_top_k=2)]

    @classmethod
    def latest_checkpoint(cls) -> Path | None:
        """What to resume from, or None."""
        path = cls.tempdir / "checkpoints" / "last.ckpt"
        return path if path.exists() else None

    @classmethod
    def setup_trainer(cls, mode: Mode) -> Any:
        """Build the trainer of a mode."""
        return pl.Trainer(
            accelerator="auto",
            devices=1,
            max_steps=cls.num_steps,
            val_check_interval=cls.val_check_interval,
            check_val_every_n_epoch=None,
            limit_val_batches=cls.limit_val_batches,
            precision=cls.precision,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            logger=cls.logger,
            callbacks=[*cls.callbacks[mode].values(), *cls.checkpoint_callbacks(mode)],
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )

    @classmethod
    def fit(cls, trainer: Any, module: Any, datamodule: Any, checkpoint: Path | None) -> None:
        """Run it. A training engine that resumes by itself overrides this one and leaves the checkpoint out."""
        trainer.fit(module, datamodule, ckpt_path=checkpoint)

    @classmethod
    def _run(cls, mode: Mode, checkpoint: Path | None = None) -> None:
        module, datamodule, optimizer = cls.setup_model(mode)
        if optimizer is not None:
            optimizer.connect(module)
        cls.fit(cls.setup_trainer(mode), module, datamodule, checkpoint)

    @classmethod
    def stop(cls) -> None:
        """Train until the first validation."""
        cls._run(Mode.STOP)

    @classmethod
    def resume(cls) -> None:
        """Resume from the checkpoint.

        Raises:
            AssertionError: There is none.
        """
        checkpoint = cls.latest_checkpoint()
        assert checkpoint is not None, f"{cls.exp_name}: the stopped run left no checkpoint in {cls.tempdir}."
        cls._run(Mode.RESUME, checkpoint)

    @classmethod
    def continuous(cls) -> None:
        """Train straight through."""
        cls._run(Mode.CONTINUOUS)

    @classmethod
    def run_stop_and_go(cls) -> None:
        """All three runs; the last in a folder of its own."""
        cls.stop()
        cls.resume()
        cls.teardown_class()
        cls._new_tempdir()
        cls.continuous()

    @pytest.mark.parametrize("callback_type", RECORDING_CALLBACKS, ids=lambda callback_type: callback_type.__name__)
    def test_stop_and_go_consistency(self, callback_type: type) -> None:
        """Every record of the interrupted run equals that of the continuous one."""
        interrupted = get_callback(self.callbacks, Mode.RESUME, callback_type).data
        continuous = get_callback(self.callbacks, Mode.CONTINUOUS, callback_type).data
        name = callback_type.__name__
        assert interrupted, f"No data found for {name}"
        assert continuous, f"No data found for {name}"
        lengths = f"{len(interrupted)} records interrupted, {len(continuous)} continuous"
        assert len(interrupted) == len(continuous), f"{name}: {lengths}"
        is_output = callback_type in _OUTPUT_CALLBACKS
        atol, rtol = (self.output_tensor_atol, self.output_tensor_rtol) if is_output else (self.atol, self.rtol)
        for step, (a, b) in enumerate(zip(interrupted, continuous, strict=True)):
            try:
                recursive_assert_approx_equal(a, b, atol=atol, rtol=rtol)
            except AssertionError as error:
                raise AssertionError(f"{name}, record {step} (interrupted vs continuous): {error}") from None

    def test_train_val_init_consumed_samples(self) -> None:
        """The resumed run's training begins where the stopped one's ended; validation always at its start."""
        callback_type = recording.TrainValInitConsumedSamplesStopAndGoCallback
        assert get_callback(self.callbacks, Mode.STOP, callback_type).data == (0, 0)
        train, valid = get_callback(self.callbacks, Mode.RESUME, callback_type).data
        assert train > 0, "The resumed run's training data begin at the start again."
        assert valid == 0
