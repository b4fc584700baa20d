# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What ranks draw: a function of the seed and of the pack alone, shared where they compute the same numbers."""

import pytest
import torch

from bionemo.testing.megatron_on_cpu import megatron_on_cpu
from bionemo.testing.megatron_parallel_state_utils import mock_distributed_parallel_state


pytestmark = [
    pytest.mark.nemo_env,
    pytest.mark.skipif(torch.cuda.is_available(), reason="the stand-in is for machines without a GPU"),
]


def draws(rank: int, number: int, *, vp_stage: int = 0, **sizes: int) -> tuple[list[float], list[float]]:
    """What one of two ranks draws with the others, and for its own heads."""
    from megatron.core.tensor_parallel import get_cuda_rng_tracker

    from bionemo.llm.megatron.dropout import seed_dropout

    with megatron_on_cpu(), mock_distributed_parallel_state(world_size=2, rank=rank, **sizes):
        seed_dropout(42, number, vp_stage=vp_stage)
        together = torch.rand(3).tolist()
        with get_cuda_rng_tracker().fork():
            return together, torch.rand(3).tolist()


def test_tensor_parallel_ranks_draw_together_and_for_their_heads_apart() -> None:
    sizes = {"tensor_model_parallel_size": 2}
    (together, own), (others, theirs) = draws(0, 7, **sizes), draws(1, 7, **sizes)
    assert together == others
    assert not set(own) & set(theirs)
    assert (together, own) == draws(0, 7, **sizes)  # whatever was drawn before
    assert together == draws(0, 7)[0]  # as without tensor parallelism
    assert not {*together, *own} & {value for drawn in draws(0, 8, **sizes) for value in drawn}


def test_stages_and_their_pieces_draw_apart() -> None:
    sizes = {"pipeline_model_parallel_size": 2}
    drawn = [draws(rank, 7, vp_stage=piece, **sizes)[0] for rank in (0, 1) for piece in (0, 1)]
    assert len({value for three in drawn for value in three}) == 12
