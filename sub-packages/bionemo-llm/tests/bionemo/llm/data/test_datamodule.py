# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import Dataset

from bionemo.core.errors import ConfigError
from bionemo.llm.data.datamodule import ConsumedSamplesSampler, MockDataModule
from bionemo.llm.data.types import BertSample


class Samples(Dataset):
    """Sample i is the token i, i times or so."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, idx):
        text = torch.full((1 + idx % 3,), idx)
        return BertSample(
            text=text,
            types=torch.zeros_like(text),
            attention_mask=torch.ones_like(text),
            labels=text,
            loss_mask=torch.ones_like(text, dtype=torch.bool),
            is_random=torch.zeros_like(text),
        )


class Recorder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.seen, self.validated = [], []
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch):
        self.seen.extend(batch["text"][:, 0].tolist())
        return (self.weight * batch["text"].float().mean()).sum()

    def validation_step(self, batch):
        self.validated.extend(batch["text"][:, 0].tolist())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _trainer(max_steps, **options):
    return pl.Trainer(
        max_steps=max_steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def _data():
    return MockDataModule(
        Samples(40), Samples(5), micro_batch_size=2, global_batch_size=4, num_workers=0, max_seq_length=8
    )


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("consumed", [0, 4, 10])
def test_ranks_share_the_samples_without_gap_or_repeat(world_size, consumed):
    samplers = [
        ConsumedSamplesSampler(23, 2, consumed_samples=consumed, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    dealt = [idx for sampler in samplers for batch in sampler for idx in batch]
    assert sorted(dealt) == list(range(consumed, 23))
    assert [len(list(sampler)) for sampler in samplers] == [len(sampler) for sampler in samplers]
    training = [
        ConsumedSamplesSampler(23, 2, consumed_samples=consumed, rank=r, world_size=world_size, drop_last=True)
        for r in range(world_size)
    ]
    assert len({len(sampler) for sampler in training}) == 1


def test_impossible_samplers_are_refused():
    with pytest.raises(ConfigError, match="consumed_samples=11 lies outside the 10 samples"):
        ConsumedSamplesSampler(10, 2, consumed_samples=11)
    with pytest.raises(ConfigError, match="micro_batch_size must be at least 1"):
        ConsumedSamplesSampler(10, 0)
    with pytest.raises(ConfigError, match="global_batch_size=5 is no multiple of micro_batch_size=2"):
        MockDataModule(micro_batch_size=2, global_batch_size=5)


def test_a_resumed_run_goes_on_with_the_next_sample():
    first = Recorder()
    data = _data()
    _trainer(3, accumulate_grad_batches=2).fit(first, datamodule=data)
    state = data.state_dict()
    assert state == {"consumed_samples": 12}
    assert first.seen == list(range(12))
    assert first.validated[:4] == [0, 1, 2, 3]  # the sanity check reads from the start
    second = Recorder()
    data = _data()
    data.load_state_dict(state)
    _trainer(2, accumulate_grad_batches=2).fit(second, datamodule=data)
    assert second.seen == list(range(12, 20))
    assert data.state_dict() == {"consumed_samples": 20}


@pytest.mark.parametrize("split", ["train", "valid", "test", "predict"])
def test_a_missing_split_is_named(split):
    loader = "val_dataloader" if split == "valid" else f"{split}_dataloader"
    with pytest.raises(ValueError, match=f"No {split}_dataset was provided"):
        getattr(MockDataModule(), loader)()
