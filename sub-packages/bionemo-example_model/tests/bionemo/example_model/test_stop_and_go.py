# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The stop-and-go harness on the engine itself: what the GPT goes through is what every model of the house does."""

import lightning.pytorch as pl
import numpy as np
from torch.utils.data import DataLoader

from bionemo.example_model.gpt import MicroBatches, TextWindows, build_module, build_run_trainer, collate
from bionemo.example_model.gpt_config import GPTPretrainConfig
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.stop_requests import StopRequests
from bionemo.testing.harnesses.mode import Mode
from bionemo.testing.harnesses.stop_and_go import RECORDING_CALLBACKS, StopAndGoHarness, get_callback
from bionemo.testing.testing_callbacks import ConsumedSamplesCallback, LearningRateCallback, TrainLossCallback


TEXT = np.random.default_rng(0).integers(97, 123, size=4000, dtype=np.uint8)


class TextModule(pl.LightningDataModule):
    def __init__(self, config, consumed_samples):
        super().__init__()
        self.config, self.start = config, consumed_samples
        self.windows = TextWindows(TEXT, config.max_seq_length)

    def train_dataloader(self):
        batches = MicroBatches(self.config.micro_batch_size, self.start, rank=0, world_size=1)
        return DataLoader(self.windows, batch_sampler=batches, collate_fn=collate)

    def val_dataloader(self):
        mine = range(len(self.windows))
        return DataLoader(self.windows, batch_size=self.config.micro_batch_size, sampler=mine, collate_fn=collate)


class TestEngine(StopAndGoHarness):
    num_steps, val_check_interval, limit_val_batches = 8, 3, 2
    lr, precision = 1e-2, "32"
    atol = rtol = output_tensor_atol = output_tensor_rtol = 0.0  # float32 on a CPU: bit for bit

    @classmethod
    def setup_class(cls):
        super().setup_class()
        cls.run_stop_and_go()

    @classmethod
    def setup_model(cls, mode):
        cls.run = RunDirectory(cls.tempdir / "gpt")
        cls.run.prepare(resume=True)
        cls.config = GPTPretrainConfig(
            data_path=cls.tempdir / "text",
            resume_if_exists=mode is Mode.RESUME,
            num_layers=1,
            hidden_size=16,
            num_attention_heads=2,
            max_seq_length=16,
            micro_batch_size=4,
            num_steps=cls.num_steps,
            lr=cls.lr,
            val_check_interval=cls.val_check_interval,
            limit_val_batches=cls.limit_val_batches,
            accelerator="cpu",
        )
        cls.module, cls.fingerprint = build_module(cls.config, cls.run, size_bytes=len(TEXT))
        return cls.module, TextModule(cls.config, cls.module.progress.consumed_samples), None

    @classmethod
    def setup_trainer(cls, mode):
        trainer = build_run_trainer(cls.config, cls.run, cls.module, cls.fingerprint, StopRequests())
        trainer.callbacks[:0] = cls.callbacks[mode].values()  # before the engine's own, which read and reset losses
        return trainer

    @classmethod
    def latest_checkpoint(cls):
        return cls.run.latest_checkpoint()

    @classmethod
    def fit(cls, trainer, module, datamodule, checkpoint):
        trainer.fit(module, datamodule)  # build_module has read the checkpoint

    def test_what_was_recorded(self):
        data = {kind: get_callback(self.callbacks, Mode.RESUME, kind).data for kind in RECORDING_CALLBACKS}
        assert [int(count) for count in data[ConsumedSamplesCallback]] == list(range(1, 9))
        assert len(set(map(float, data[LearningRateCallback]))) > 1
        assert len(set(map(float, data[TrainLossCallback]))) == 8
