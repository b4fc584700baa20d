# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the attention kernels of a GPU, so that the path of a compiled model is tested on every machine."""

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from bionemo.core.optional_deps import require


@contextlib.contextmanager
def exact_attention_kernel() -> Iterator[None]:
    """Make every model take the path of a variable-length kernel for the length of the block. Needs bionemo-llm."""
    model_class = _llm("model.biobert.model").MegatronBioBertModel
    kernels = _llm("model.varlen.kernels")
    stand_in = kernels.VarlenKernel(
        "torch",
        "torch",
        lambda cu_seqlens, heads, head_dim: cu_seqlens,
        exact_attention(),
        exact_attention_with_dropout(),
    )
    with (
        mock.patch.dict(kernels.KERNELS, {"exact": stand_in}),
        mock.patch.object(model_class, "choose_kernel", return_value="exact"),
    ):
        yield


@cache
def exact_attention() -> Callable[..., Any]:
    """Attention within each sequence on any device, registered as the kernels of a GPU are."""
    registered: Callable[..., Any] = _llm("model.varlen.registration").register_attention(
        "exact_attention_of_tests", _forward, _backward, stats_shape=lambda tokens, heads: (tokens, heads)
    )
    return registered


@cache
def exact_attention_with_dropout() -> Callable[..., Any]:
    """The same with dropout of attention weights, drawn from torch's generator of the CPU."""
    registered: Callable[..., Any] = _llm("model.varlen.registration").register_attention_with_dropout(
        "exact_attention_with_dropout_of_tests",
        _forward_with_dropout,
        _backward_with_dropout,
        stats_shape=lambda tokens, heads: (tokens, heads),
    )
    return registered


def _llm(module: str) -> Any:
    return require(f"bionemo.llm.{module}", extra="bionemo-llm")


def _forward(
    query: Tensor, key: Tensor, value: Tensor, plan: Tensor, max_seqlen: int, scale: float
) -> tuple[Tensor, Tensor]:
    reference = _llm("model.varlen.reference")
    assert int(plan.diff().max()) <= max_seqlen
    table = reference.SequenceTable(plan, max_seqlen, int(plan[-1]), None, None, None)
    context = reference.sequence_by_sequence_attention(query, key, value, table, scale)
    return context, torch.zeros(query.shape[:2])


def _backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, context: Tensor, stats: Tensor, plan: Tensor,
    max_seqlen: int, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return _gradients(grad, query, key, value, plan, scale, lambda weights: torch.ones_like(weights))


def _forward_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, plan: Tensor, max_seqlen: int, scale: float, dropout: float
) -> tuple[Tensor, Tensor, Tensor]:
    seed = torch.randint(2**62, (2,))
    factors = _dropout_factors(seed, dropout)
    context = torch.zeros_like(value)
    for start, end in pairwise(plan.tolist()):
        q, k, v = (x[start:end].transpose(0, 1) for x in (query, key, value))
        weights = torch.softmax(scale * (q @ k.mT), dim=-1)
        context[start:end] = ((weights * factors(weights)) @ v).transpose(0, 1)
    return context, torch.zeros(query.shape[:2]), seed.view(torch.uint64)


def _backward_with_dropout(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, context: Tensor, stats: Tensor, rng_state: Tensor,
    plan: Tensor, max_seqlen: int, scale: float, dropout: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    factors = _dropout_factors(rng_state.view(torch.int64), dropout)
    return _gradients(grad, query, key, value, plan, scale, factors)


def _dropout_factors(seed: Tensor, dropout: float) -> Callable[[Tensor], Tensor]:
    """What each attention weight is multiplied by, sequence after sequence."""
    generator = torch.Generator().manual_seed(int(seed[0]))
    return lambda weights: ((torch.rand(weights.shape, generator=generator) >= dropout) / (1 - dropout)).to(weights)


def _gradients(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, plan: Tensor, scale: float,
    factors: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """By formula: autograd does not reach into an operator."""
    gradients = query.new_empty(3, *query.shape)
    for start, end in pairwise(plan.tolist()):
        q, k, v, g = (x[start:end].transpose(0, 1) for x in (query, key, value, grad))
        weights = torch.softmax(scale * (q @ k.mT), dim=-1)
        factor = factors(weights)
        slopes = (g @ v.mT) * factor
        slopes = scale * weights * (slopes - (slopes * weights).sum(-1, keepdim=True))
        for place, gradient in enumerate((slopes @ k, slopes.mT @ q, (weights * factor).mT @ g)):
            gradients[place, start:end] = gradient.transpose(0, 1)
    return gradients[0].clone(), gradients[1].clone(), gradients[2].clone()
