# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A fine-tuning run starts with the pretrained encoder and a head that a seed decides, and no rank holds it whole."""

from functools import partial
from pathlib import Path

import pytest
import torch

from bionemo.esm2.api import build_esm2, esm2_config, load_esm2, save_esm2
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.head_config import HeadConfig, Target
from bionemo.esm2.finetuning.head_layout import build_with_head
from bionemo.esm2.finetuning.heads import ESM2WithHead
from bionemo.esm2.finetuning.model_setup import build_module
from bionemo.llm.model.lora import add_lora
from bionemo.llm.training.ranks.deferred_init import DeferredModel
from bionemo.testing.multiprocess import run_on_ranks, warm_pool
from bionemo.testing.peak_memory import assert_no_rank_held_the_whole_model, can_measure, peak_of_sharded_start


HEAD = HeadConfig(level="sequence", targets=(Target(column="value", kind="regression"),), kind="mlp", hidden_size=16)
LORA = {"lora_finetune": True, "lora_rank": 2, "lora_alpha": 4.0}
SEED = 3


def config_for(pretrained: Path, **changes) -> FinetuneESM2Config:
    return FinetuneESM2Config(restore_from_checkpoint_path=pretrained, train_data_path=Path("x.csv"), **changes)


@pytest.mark.parametrize("changes", [{}, LORA], ids=["the whole model", "adapters"])
def test_the_start_is_that_of_a_model_built_the_ordinary_way(pretrained: Path, changes: dict) -> None:
    encoder = load_esm2(pretrained).model
    encoder.remove_token_head()
    ordinary = build_with_head(encoder.bert_config, HEAD, seed=SEED)
    ordinary.model.load_state_dict(encoder.state_dict())
    if changes:
        torch.manual_seed(SEED)
        add_lora(ordinary.model, rank=2, alpha=4.0, separate_qkv_heads=encoder.bert_config.num_attention_heads)
    found = build_module(config_for(pretrained, **changes), HEAD, seed=SEED).on_host()
    expected = ordinary.state_dict()
    assert found.state_dict().keys() == expected.keys()
    assert any(".down" in name for name in expected) == bool(changes)
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    trained = {name for name, parameter in found.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in ordinary.named_parameters() if parameter.requires_grad}


def deferred(pretrained: Path, changes: dict) -> DeferredModel[ESM2WithHead]:
    return build_module(config_for(pretrained, **changes), HEAD, seed=SEED)


def peak_of_start(small: Path, pretrained: Path, changes: dict) -> int:
    return peak_of_sharded_start(partial(deferred, small, changes), partial(deferred, pretrained, changes))


@pytest.mark.skipif(not can_measure(), reason="the peak of memory is read from Linux's /proc")
@pytest.mark.parametrize(
    "changes", [LORA, pytest.param({}, marks=pytest.mark.nightly)], ids=["adapters", "the whole model"]
)
def test_no_rank_holds_the_whole_model(pretrained: Path, tmp_path: Path, changes: dict) -> None:
    """35M on four ranks: the peak is at most a rank's share, two layers and 64 MiB, which is less than the model."""
    warm_pool("bionemo.esm2.finetuning.model_setup")
    shape = esm2_config("35M")
    save_esm2(build_esm2(shape), tmp_path / "35M")
    peaks = run_on_ranks(4, peak_of_start, pretrained, tmp_path / "35M", changes)
    assert_no_rank_held_the_whole_model(peaks, shape, 33)
