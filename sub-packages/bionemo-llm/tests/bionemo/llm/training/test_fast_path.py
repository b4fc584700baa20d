# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a run on a GPU compiles and replays by itself, and that flags win."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.training.fast_path import MIN_STEPS_TO_COMPILE, FastPath, choose_fast_path


def choose(hidden_size: int = 640, dropout: float = 0.0, only_masked_tokens: bool = True, **changes: Any) -> FastPath:
    settings = {
        "accelerator": "gpu", "precision": "bf16-mixed", "sequences_per_batch": None, "max_steps": 500_000,
        "max_tokens": 32_768, "num_ranks": 1, "compile": None, "cuda_graphs": None, "accumulate_grad_batches": 1,
        "recompute": "none", **changes,
    }  # fmt: skip
    resolved: Any = SimpleNamespace(asked=SimpleNamespace(**settings), **settings)
    shape = BioBertConfig(
        num_layers=2, hidden_size=hidden_size, num_attention_heads=4, hidden_dropout=dropout, attention_dropout=dropout
    )
    return choose_fast_path(resolved, shape, only_masked_tokens=only_masked_tokens)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"dropout": 0.1}, True),
        ({"recompute": "full"}, True),
        ({"recompute": "full", "dropout": 0.1}, False),
        ({"accelerator": "cpu"}, False),
        ({"precision": "32-true"}, False),
        ({"precision": "16-mixed"}, False),
        ({"sequences_per_batch": 8}, False),
        ({"only_masked_tokens": False}, False),
        ({"max_steps": MIN_STEPS_TO_COMPILE}, True),
        ({"max_steps": MIN_STEPS_TO_COMPILE - 1}, False),
        ({"max_steps": 10, "compile": True}, True),
        ({"compile": False}, False),
    ],
    ids=str,
)
def test_layers_are_compiled_where_it_repays(changes: dict[str, Any], expected: bool) -> None:
    assert choose(**changes) == FastPath(expected, False)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hidden_size": 320}, True),
        ({"hidden_size": 480}, True),
        ({"hidden_size": 640}, False),
        ({"hidden_size": 320, "dropout": 0.1}, False),
        ({"hidden_size": 320, "max_steps": 10}, False),
        ({"hidden_size": 320, "max_steps": 10, "compile": True}, True),
        ({"hidden_size": 320, "compile": True, "accelerator": "cpu"}, False),
        ({"hidden_size": 320, "num_ranks": 2}, False),
        ({"hidden_size": 320, "accumulate_grad_batches": 2}, False),
        ({"hidden_size": 320, "max_tokens": 65_536}, False),
        ({"hidden_size": 640, "cuda_graphs": True}, True),
        ({"hidden_size": 320, "cuda_graphs": False}, False),
    ],
    ids=str,
)
def test_small_models_are_replayed_as_cuda_graphs(changes: dict[str, Any], expected: bool) -> None:
    assert choose(**changes).cuda_graphs is expected


def test_the_log_says_what_is_done_and_why_not(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    choose(max_steps=20)
    assert "Not compiling: 20 steps do not repay" in caplog.text
    assert "--compile compiles anyway" in caplog.text
    caplog.clear()
    choose(hidden_size=320)
    assert "Compiling the encoder layers" in caplog.text
    assert "CUDA graphs" in caplog.text
    caplog.clear()
    choose(accelerator="cpu")
    assert not caplog.text
