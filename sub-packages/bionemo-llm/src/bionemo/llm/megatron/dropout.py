# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Dropout on many ranks: a function of the seed and of the pack's number in the run, as on the lightning engine.

Ranks that compute the same numbers draw the same masks; pipeline stages, shares of a pack and shares of the heads draw
their own.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.tensor_parallel.random import get_cuda_rng_tracker, model_parallel_cuda_manual_seed
from torch import nn

from bionemo.core.randomness import Stream, hashed_seed


def seed_dropout(seed: int, number: int, *, vp_stage: int = 0) -> None:
    """Seed the generators of this rank for one packed batch.

    Args:
        seed: The run's.
        number: The pack's in the run.
        vp_stage: Which model chunk of its stage is to draw.
    """
    stage, context = parallel_state.get_pipeline_model_parallel_rank(), parallel_state.get_context_parallel_rank()
    piece = vp_stage * parallel_state.get_pipeline_model_parallel_world_size() + stage
    place = piece * parallel_state.get_context_parallel_world_size() + context
    own = hashed_seed(seed, Stream.DROPOUT, place, number)
    if parallel_state.get_tensor_model_parallel_world_size() > 1:
        # The tracked states of what each tensor-parallel rank draws by itself: from seeds that are counted up.
        model_parallel_cuda_manual_seed(own >> 2)
    torch.manual_seed(own)  # after it, which also sets the device's generator


def draw_apart(layers: Iterable[nn.Module], *, sequence_parallel: bool) -> None:
    """Make tensor-parallel ranks draw masks of their own for their attention heads.

    Args:
        layers: Megatron's transformer layers.
        sequence_parallel: Then Megatron lets them draw apart in the whole encoder.
    """
    if sequence_parallel or parallel_state.get_tensor_model_parallel_world_size() == 1:
        return
    for layer in layers:
        self_attention: Any = layer.self_attention
        attention = self_attention.core_attention
        if attention.attention_dropout > 0:
            attention.forward = partial(_apart, attention.forward)


def _apart(forward: Any, *args: Any, **kwargs: Any) -> Any:
    with get_cuda_rng_tracker().fork():
        return forward(*args, **kwargs)
