# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which strategy fine-tuning takes, what it refuses, and what its ranks must agree on."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bionemo.core.errors import ConfigError, ParallelismError
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.training.ranks.fine_tuning import build_strategy, check_strategy, is_sharded
from bionemo.llm.training.ranks.strategies import RanksStrategy, ShardedStrategy


LARGE = BioBertConfig(num_layers=1000, hidden_size=10_240, num_attention_heads=80)
"""More than any computer's memory."""


def flags(**changes: Any) -> SimpleNamespace:
    values = {
        "num_gpus": 2, "num_nodes": 1, "fsdp_shard_size": None, "fsdp_cpu_offload": False, "encoder_frozen": False,
        "lora_finetune": False, "accumulate_grad_batches": 1, "asked_strategy": "fsdp",
    }  # fmt: skip
    return SimpleNamespace(**{**values, **changes})


@pytest.mark.parametrize("precision", ["16-mixed", "16-true"])
def test_float16_is_refused(precision: str) -> None:
    with pytest.raises(ConfigError, match="float16: not with --strategy fsdp"):
        check_strategy(flags(), precision)
    check_strategy(flags(asked_strategy="ddp"), precision)


def test_groups_divide_the_ranks() -> None:
    with pytest.raises(ParallelismError, match="--fsdp-shard-size 3: does not divide the 2 ranks"):
        check_strategy(flags(fsdp_shard_size=3), "32-true")


@pytest.mark.parametrize(
    ("changes", "precision", "expected"),
    [
        ({}, "bf16-mixed", True),
        ({}, "16-mixed", False),
        ({"encoder_frozen": True}, "bf16-mixed", False),
        ({"lora_finetune": True}, "bf16-mixed", False),
        ({"find_lr": True}, "bf16-mixed", False),
        ({"num_gpus": 1}, "bf16-mixed", False),
        ({"lora_finetune": True, "asked_strategy": "fsdp"}, "bf16-mixed", True),
        ({"num_gpus": 1, "asked_strategy": "fsdp"}, "bf16-mixed", True),
        ({"asked_strategy": "ddp"}, "bf16-mixed", False),
    ],
)
def test_a_model_that_does_not_fit_is_sharded_where_that_is_possible(
    changes: dict[str, Any], precision: str, expected: bool
) -> None:
    config = flags(**{"asked_strategy": "auto", **changes})
    found = is_sharded(config, LARGE, 33, num_tokens=1000, accelerator="cpu", precision=precision)
    assert found == expected


def test_ranks_must_start_at_one_step_with_the_same_settings() -> None:
    """Where a rank runs is its own matter."""
    settings = {"lr": 0.1, "result_dir": "/its/own"}
    model = nn.Linear(2, 2)
    common: dict[str, Any] = {"precision": "32-true", "settings": settings, "start_step": 7}
    whole = build_strategy(flags(), model, weights=None, **common)
    sharded = build_strategy(flags(), model, weights=lambda fill: None, **common)
    assert (type(whole), type(sharded)) == (RanksStrategy, ShardedStrategy)
    for strategy in (whole, sharded):
        assert strategy is not None
        assert strategy.settings == {"lr": 0.1, "start_step": 7}
    assert build_strategy(flags(num_gpus=1), model, weights=None, **common) is None


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.bfloat16), ("32-true", None)])
def test_gathered_weights_are_in_half_precision_where_it_is_mixed(precision: str, dtype: torch.dtype | None) -> None:
    strategy = build_strategy(
        flags(), nn.Linear(2, 2), weights=lambda fill: None, precision=precision, settings={}, start_step=0
    )
    assert isinstance(strategy, ShardedStrategy)
    assert strategy._compute_dtype == dtype
