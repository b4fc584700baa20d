# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Predicted memory against measured peaks, and the strategy that follows from it."""

from types import SimpleNamespace

import pytest

from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.training.ranks.deferred_init import build_recorded
from bionemo.llm.training.ranks.memory import (
    GIB,
    StepShape,
    activation_bytes,
    choose_strategy,
    layer_parameters,
    num_parameters,
    plan_memory,
)


H200 = 139.8 * GIB
ESM2 = {"position_embedding_type": "rope", "share_embeddings_and_output_weights": True}
SHAPES = {
    "650M": BioBertConfig(num_layers=33, hidden_size=1280, num_attention_heads=20, **ESM2),
    "3B": BioBertConfig(num_layers=36, hidden_size=2560, num_attention_heads=40, **ESM2),
    "15B": BioBertConfig(num_layers=48, hidden_size=5120, num_attention_heads=40, **ESM2),
}


@pytest.mark.parametrize(
    ("size", "strategy", "num_ranks", "measured"),
    [
        # Peak of torch's allocator, 30 November 2026, H200, torch 2.11, bf16 compute, compiled, 32,768 tokens.
        ("650M", "single", 1, 35.2),
        ("3B", "single", 1, 95.0),
        ("3B", "ddp", 2, 105.6),
        ("650M", "fsdp", 2, 30.4),
        ("3B", "fsdp", 2, 74.1),
        pytest.param("650M", "ddp", 2, 40.1, marks=pytest.mark.xfail(reason="7 % below: cause unknown")),
    ],
)
def test_measured_peaks_are_predicted_to_five_percent(
    size: str, strategy: str, num_ranks: int, measured: float
) -> None:
    plan = plan_memory(strategy, SHAPES[size], 33, StepShape(tokens=32_768, num_ranks=num_ranks))
    assert plan.total / GIB == pytest.approx(measured, rel=0.05)


def test_a_measured_peak_of_layers_that_are_not_compiled_is_predicted() -> None:
    """H200, 32,432 tokens: 55.4 GiB with copies of the weights in bfloat16; autocast takes 58.2."""
    plan = plan_memory("single", SHAPES["650M"], 33, StepShape(tokens=32_432, compiled=False))
    assert plan.total / GIB == pytest.approx(55.4, rel=0.02)


@pytest.mark.parametrize("changes", [ESM2, {"norm_placement": "post", "num_token_types": 2}])
def test_parameters_are_counted(changes: dict[str, object]) -> None:
    shape = BioBertConfig(num_layers=3, hidden_size=16, num_attention_heads=2, ffn_hidden_size=40, **changes)
    vocabulary = SimpleNamespace(vocab_size=33, mask_token_id=32, pad_token_id=1)
    model, _ = build_recorded(lambda: build_model(shape, vocabulary))
    assert num_parameters(shape, 33) == sum(parameter.numel() for parameter in model.parameters())
    assert layer_parameters(shape) == sum(parameter.numel() for parameter in model.encoder.layers[0].parameters())


NARROW = {"num_layers": 3, "hidden_size": 64, "num_attention_heads": 2, "ffn_hidden_size": 256}
POST = {"norm_placement": "post"}


@pytest.mark.parametrize(
    ("shape", "step", "expected"),
    [
        # Three layers; of each the inputs of six products of the hidden size and one of four times it, two bytes each.
        ({}, {}, 3 * 20),
        ({}, {"recompute": "selective"}, 3 * 18 + 2),
        ({}, {"recompute": "full"}, 3 * 2 + 20),
        ({}, {"half_precision": False}, 3 * 40),
        ({}, {"compiled": False}, 3 * 36),
        ({}, {"compiled": False, "half_precision": False}, 3 * 64),
        (POST, {}, 3 * 26),
        (POST, {"half_precision": False}, 3 * 44),
        (POST, {"compiled": False}, 3 * 36),
    ],
)
def test_bytes_a_token_and_unit_of_the_hidden_size(shape: dict, step: dict, expected: int) -> None:
    config = BioBertConfig(**NARROW, **shape)
    assert activation_bytes(config, StepShape(tokens=100, **step)) == 100 * 64 * expected


@pytest.mark.parametrize(
    ("step", "share"),
    [
        ({}, 1 / 8),
        ({"shard_size": 2}, 1 / 2),
        ({"cpu_offload": True}, 0.0),
    ],
)
def test_a_rank_keeps_its_share(step: dict, share: float) -> None:
    """Weights and gradients of four bytes, moments of eight; what is on the host does not count."""
    parameters = num_parameters(SHAPES["650M"], 33)
    plan = plan_memory("fsdp", SHAPES["650M"], 33, StepShape(tokens=100, num_ranks=8, **step))
    assert (plan.weights, plan.gradients, plan.moments) == tuple(n * parameters * share for n in (4, 4, 8))


@pytest.mark.parametrize(
    ("asked", "size", "step", "chosen", "said"),
    [
        ("auto", "650M", StepShape(tokens=32_768, num_ranks=8), "ddp", "the whole model fits each rank"),
        ("auto", "15B", StepShape(tokens=8_192, num_ranks=8), "fsdp", "ddp would take 2"),
        ("fsdp", "650M", StepShape(tokens=32_768, num_ranks=8), "fsdp", "as asked"),
        ("ddp", "15B", StepShape(tokens=8_192, num_ranks=8), "ddp", "run out of memory; --strategy fsdp, --recompute"),
        ("auto", "650M", StepShape(tokens=32_768), "single", "one rank"),
        (
            "auto",
            "15B",
            StepShape(tokens=32_768, num_ranks=2),
            "fsdp",
            "--fsdp-cpu-offload would take less",
        ),
    ],
)
def test_choice(asked: str, size: str, step: StepShape, chosen: str, said: str) -> None:
    plan, text = choose_strategy(asked, SHAPES[size], 33, step, H200)
    assert plan.strategy == chosen
    assert said in text
    assert f"strategy {chosen} (" in text
    assert f"{plan.total / GIB:.1f} GiB (weights" in text


def test_accumulated_gradients_are_whole_only_where_they_fit() -> None:
    step = StepShape(tokens=8_192, num_ranks=8, recompute="full", micro_batches=4)
    fits, _ = choose_strategy("fsdp", SHAPES["3B"], 33, step, H200)
    assert not fits.reduce_every_micro_batch
    assert fits.gradients == 4 * num_parameters(SHAPES["3B"], 33)
    too_large, text = choose_strategy("fsdp", SHAPES["15B"], 33, step, 80 * GIB)
    assert too_large.reduce_every_micro_batch
    assert too_large.gradients == 4 * num_parameters(SHAPES["15B"], 33) / 8
    assert "reduced after every micro-batch" in text
