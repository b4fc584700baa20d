# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Impossible ways to spread a model are refused by name, before anything starts."""

import itertools

import pytest

from bionemo.core.errors import ConfigError, ParallelismError
from bionemo.llm.training.parallel_config import ParallelConfig


MODEL = {"num_layers": 6, "num_attention_heads": 20, "ffn_hidden_size": 1280, "pack_size": 4096}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tensor_model_parallel_size": 0}, "--tensor-model-parallel-size 0: must be at least 1"),
        ({"context_parallel_size": -1}, "--context-parallel-size -1"),
        ({"sequence_parallel": True}, "--sequence-parallel: needs --tensor-model-parallel-size"),
        ({"virtual_pipeline_model_parallel_size": 0}, "--virtual-pipeline-model-parallel-size 0: must be at least 1"),
        (
            {"virtual_pipeline_model_parallel_size": 2},
            "--virtual-pipeline-model-parallel-size 2: needs --pipeline-model-parallel-size of at least 2",
        ),
        ({"num_layers_in_first_pipeline_stage": 1}, "--decoder-first-pipeline-num-layers 1: needs"),
        (
            {
                "pipeline_model_parallel_size": 2,
                "virtual_pipeline_model_parallel_size": 2,
                "num_layers_in_first_pipeline_stage": 2,
            },
            "--decoder-first-pipeline-num-layers and --virtual-pipeline-model-parallel-size cannot be combined",
        ),
        ({"overlap_param_gather": True}, "--overlap-param-gather: needs --use-distributed-optimizer"),
        ({"recompute": "some"}, "--recompute some: not one of none, selective, full"),
    ],
)
def test_settings_that_are_impossible_by_themselves(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ParallelConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "model", "message"),
    [
        (
            {"tensor_model_parallel_size": 3},
            {},
            "--tensor-model-parallel-size 3 does not divide the 20 attention heads",
        ),
        (
            {"tensor_model_parallel_size": 4},
            {"ffn_hidden_size": 1282},
            "--tensor-model-parallel-size 4 does not divide the 1282 feed-forward channels",
        ),
        ({"pipeline_model_parallel_size": 4}, {}, "--pipeline-model-parallel-size 4 does not divide the 6 layers"),
        (
            {"pipeline_model_parallel_size": 3, "virtual_pipeline_model_parallel_size": 4},
            {},
            "--pipeline-model-parallel-size 3 x --virtual-pipeline-model-parallel-size 4 does not divide the 6 layers",
        ),
        (
            {"pipeline_model_parallel_size": 3, "num_layers_in_first_pipeline_stage": 3},
            {},
            "--decoder-first-pipeline-num-layers 3 leaves 3 of 6 layers",
        ),
        ({"context_parallel_size": 3}, {}, "--context-parallel-size 3 does not divide the 4096 tokens of a pack"),
        (
            {"tensor_model_parallel_size": 2, "sequence_parallel": True},
            {"pack_size": 4095},
            "with --sequence-parallel over 2 ranks does not divide the 4095 tokens",
        ),
        (
            {"tensor_model_parallel_size": 2, "recompute": "full"},
            {"dropout": 0.1},
            "--recompute full: with --tensor-model-parallel-size 2 it needs a model without dropout",
        ),
    ],
)
def test_sizes_that_do_not_fit_the_model(settings: dict, model: dict, message: str) -> None:
    with pytest.raises(ParallelismError, match=message):
        ParallelConfig(**settings).check_model(**{**MODEL, **model})


def test_sizes_that_fit_are_let_through() -> None:
    for tensor, stages, context in itertools.product((1, 2, 5), (1, 2, 3), (1, 2)):
        ParallelConfig(
            tensor_model_parallel_size=tensor, pipeline_model_parallel_size=stages, context_parallel_size=context
        ).check_model(**MODEL)
    pieces = ParallelConfig(pipeline_model_parallel_size=3, virtual_pipeline_model_parallel_size=2)
    pieces.check_model(**MODEL)
    pieces.check_micro_batches(6)
    uneven = ParallelConfig(pipeline_model_parallel_size=3, num_layers_in_first_pipeline_stage=2)
    uneven.check_model(**MODEL)


def test_pieces_of_stages_take_micro_batches_in_turn() -> None:
    pieces = ParallelConfig(pipeline_model_parallel_size=3, virtual_pipeline_model_parallel_size=2)
    message = "--accumulate-grad-batches 4: .* must be a multiple of --pipeline-model-parallel-size, 3"
    with pytest.raises(ParallelismError, match=message):
        pieces.check_micro_batches(4)
    ParallelConfig(pipeline_model_parallel_size=3).check_micro_batches(4)


def test_ranks_that_share_a_model_see_the_same_packs() -> None:
    parallel = ParallelConfig(tensor_model_parallel_size=2, pipeline_model_parallel_size=2)
    assert parallel.data_parallel_size(8) == 2
    assert [parallel.data_parallel_rank(rank, 8) for rank in range(8)] == [0, 0, 1, 1, 0, 0, 1, 1]
    context = ParallelConfig(context_parallel_size=2)
    assert [context.data_parallel_rank(rank, 4) for rank in range(4)] == [0, 0, 1, 1]
    with pytest.raises(ParallelismError, match=r"6 ranks cannot be split .* = 4 ranks"):
        parallel.data_parallel_size(6)
