# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 stopped and resumed against ESM-2 straight through, recorded at every step, on both engines."""

import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar

import pytest

from bionemo.esm2.train import pretrain_task, resolve
from bionemo.esm2.train_config import TrainESM2Config
from bionemo.llm.training.pretrain import PreparedRun, prepare_run
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.harnesses.mode import Mode
from bionemo.testing.harnesses.stop_and_go import RECORDING_CALLBACKS, StopAndGoHarness, get_callback
from bionemo.testing.megatron_on_cpu import megatron_on_cpu
from bionemo.testing.multiprocess import run_on_ranks, warm_pool
from bionemo.testing.proteins import make_proteins
from bionemo.testing.testing_callbacks import ConsumedSamplesCallback, LearningRateCallback, TrainLossCallback


pytestmark = pytest.mark.nemo_env

NUM_STEPS = 8


def has_nemo() -> bool:
    try:
        version("nemo-toolkit")
    except PackageNotFoundError:
        return False
    return True


needs_nemo = pytest.mark.skipif(not has_nemo(), reason="the megatron engine needs NeMo, which is in .venv-nemo")


class ESM2Harness(StopAndGoHarness):
    num_steps, val_check_interval, limit_val_batches = NUM_STEPS, 3, 2
    lr, precision = 1e-3, "32"
    atol = rtol = output_tensor_atol = output_tensor_rtol = 0.0  # float32 on a CPU: bit for bit
    settings: ClassVar[dict] = {}
    prepared: PreparedRun
    shared_dirs: ClassVar[Iterator[Path] | None] = None

    @classmethod
    def _new_tempdir(cls):
        if cls.shared_dirs is None:
            super()._new_tempdir()
            return
        cls.tempdir = next(cls.shared_dirs)  # the same on all ranks
        cls.tempdir.mkdir(exist_ok=True)

    @classmethod
    def setup_model(cls, mode):
        config = TrainESM2Config(
            train_fasta=write_fasta(cls.tempdir / "proteins.fasta", make_proteins(120, num_families=4)),
            result_dir=cls.tempdir,
            resume_if_exists=mode is Mode.RESUME,
            num_steps=cls.num_steps,
            val_check_interval=cls.val_check_interval,
            limit_val_batches=cls.limit_val_batches,
            log_every_n_steps=NUM_STEPS,  # else the metrics read and reset the losses before they are recorded
            lr=cls.lr,
            tokens_per_batch=256,
            max_seq_length=128,
            num_dataset_workers=0,
            accelerator="cpu",
            precision=cls.precision,
            num_layers=2,
            hidden_size=32,
            num_attention_heads=4,
            ffn_hidden_size=64,
            **cls.settings,
        )
        resolved = resolve(config)
        cls.run = RunDirectory(config.result_dir / config.experiment_name)
        if os.environ.get("RANK", "0") == "0":
            cls.run.prepare(resume=config.resume_if_exists)
        cls.prepared = prepare_run(resolved, pretrain_task(config, resolved), cls.run)
        return cls.prepared.module, None, None

    @classmethod
    def setup_trainer(cls, mode):
        trainer = cls.prepared.trainer
        trainer.callbacks[:0] = cls.callbacks[mode].values()  # before the engine's own, which read and reset losses
        return trainer

    @classmethod
    def latest_checkpoint(cls):
        return cls.run.latest_checkpoint()

    @classmethod
    def fit(cls, trainer, module, datamodule, checkpoint):
        trainer.fit(module, cls.prepared.train_loader, cls.prepared.valid_loaders)  # which has read the checkpoint

    @classmethod
    def setup_class(cls):
        super().setup_class()
        cls.run_stop_and_go()

    def test_what_was_recorded(self):
        data = {kind: get_callback(self.callbacks, Mode.RESUME, kind).data for kind in RECORDING_CALLBACKS}
        assert [int(count) for count in data[ConsumedSamplesCallback]] == list(range(1, NUM_STEPS + 1))
        assert len(set(map(float, data[LearningRateCallback]))) > 1
        assert len(set(map(float, data[TrainLossCallback]))) == NUM_STEPS


class TestLightningEngine(ESM2Harness):
    pass


class OnTensorRanks(ESM2Harness):
    settings: ClassVar[dict] = {"tensor_model_parallel_size": 2, "num_gpus": 2}


class OnPipelineRanks(ESM2Harness):
    settings: ClassVar[dict] = {"pipeline_model_parallel_size": 2, "num_gpus": 2}

    def test_what_was_recorded(self):
        if os.environ["RANK"] == "1":  # the first stage has no loss
            super().test_what_was_recorded()


class OnDataRanks(ESM2Harness):
    """With the distributed optimizer."""

    settings: ClassVar[dict] = {"engine": "megatron", "num_gpus": 2}

    def test_what_was_recorded(self):
        data = get_callback(self.callbacks, Mode.RESUME, ConsumedSamplesCallback).data
        assert [int(count) for count in data] == list(range(2, 2 * NUM_STEPS + 1, 2))


def stop_and_go_here(name: str, folder: Path) -> int:
    """Run a harness of this file on this rank, with every test that it brings; gives the number of checks."""
    harness = globals()[name]
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    harness.shared_dirs = iter([folder / "stop and go", folder / "straight"])
    with megatron_on_cpu():
        harness.setup_class()
    tests = harness()
    for callback_type in RECORDING_CALLBACKS:
        tests.test_stop_and_go_consistency(callback_type)
    tests.test_train_val_init_consumed_samples()
    tests.test_what_was_recorded()
    return len(RECORDING_CALLBACKS) + 2


@needs_nemo
@pytest.mark.parametrize("name", ["OnTensorRanks", "OnPipelineRanks", "OnDataRanks"])
def test_megatron_engine(name: str, tmp_path: Path) -> None:
    warm_pool("bionemo.esm2.train", "bionemo.llm.megatron.engine", "nemo.lightning.pytorch.strategies")
    assert run_on_ranks(2, stop_and_go_here, name, tmp_path, process_group=False, timeout_s=200) == [12, 12]
