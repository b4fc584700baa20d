# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Registers a kernel's forward and backward pass as torch operators, for ``torch.compile`` and CUDA graphs.

Letters: T tokens, N attention heads, D head dim.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


Forward = Callable[[Tensor, Tensor, Tensor, Tensor, int, float], tuple[Tensor, Tensor]]
Backward = Callable[
    [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int, float], tuple[Tensor, Tensor, Tensor]
]
Attend = Callable[[Tensor, Tensor, Tensor, Tensor, int, float], Tensor]
DropoutForward = Callable[[Tensor, Tensor, Tensor, Tensor, int, float, float], tuple[Tensor, Tensor, Tensor]]
DropoutBackward = Callable[
    [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int, float, float], tuple[Tensor, Tensor, Tensor]
]
AttendWithDropout = Callable[[Tensor, Tensor, Tensor, Tensor, int, float, float], Tensor]


def register_attention(
    name: str, forward: Forward, backward: Backward, stats_shape: Callable[[int, int], tuple[int, int]]
) -> Attend:
    """Register an operator ``bionemo::<name>`` and its backward pass.

    Args:
        name: Of the operator.
        forward: ``(query, key, value, plan, max_seqlen, scale) -> (result, stats)``, annotated with types; the result
            is new and contiguous, the statistics are float32.
        backward: ``(gradient, query, key, value, result, stats, plan, max_seqlen, scale)`` -> new and contiguous
            gradients of query, key and value.
        stats_shape: Shape of the statistics from T and N.

    Returns:
        A function as :func:`bionemo.llm.model.varlen.torch_flash.attend`.
    """
    operator = torch.library.custom_op(f"bionemo::{name}", forward, mutates_args=())
    backward_operator = torch.library.custom_op(f"bionemo::{name}_backward", backward, mutates_args=())

    @operator.register_fake
    def _(
        query: Tensor, key: Tensor, value: Tensor, plan: Tensor, max_seqlen: int, scale: float
    ) -> tuple[Tensor, Tensor]:
        stats = query.new_empty(stats_shape(query.shape[0], query.shape[1]), dtype=torch.float32)
        return query.new_empty(query.shape), stats

    @backward_operator.register_fake
    def _(grad: Tensor, query: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        return query.new_empty(query.shape), query.new_empty(query.shape), query.new_empty(query.shape)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        query, key, value, plan, ctx.max_seqlen, ctx.scale = inputs
        ctx.save_for_backward(query, key, value, *output, plan)
        ctx.set_materialize_grads(False)

    def differentiate(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
        grads = backward_operator(grad, *ctx.saved_tensors, ctx.max_seqlen, ctx.scale)
        return (*grads, None, None, None)

    operator.register_autograd(differentiate, setup_context=keep)

    def attend(query: Tensor, key: Tensor, value: Tensor, plan: Tensor, max_seqlen: int, scale: float) -> Tensor:
        context: Tensor = operator(query, key, value, plan, max_seqlen, scale)[0]
        return context

    return attend


def register_attention_with_dropout(
    name: str, forward: DropoutForward, backward: DropoutBackward, stats_shape: Callable[[int, int], tuple[int, int]]
) -> AttendWithDropout:
    """Register an operator ``bionemo::<name>`` that drops attention weights, and its backward pass.

    Args:
        name: Of the operator.
        forward: ``(query, key, value, plan, max_seqlen, scale, dropout) -> (result, stats, rng_state)``, as in
            :func:`register_attention`; it draws from torch's default generator of the device, and ``rng_state``
            [2] uint64 is what it drew from.
        backward: ``(gradient, query, key, value, result, stats, rng_state, plan, max_seqlen, scale, dropout)`` -> new
            and contiguous gradients of query, key and value, under the mask of the forward pass.
        stats_shape: Shape of the statistics from T and N.

    Returns:
        A function as :func:`bionemo.llm.model.varlen.torch_flash.attend`, with the dropout probability last.
    """
    draws = (torch.Tag.nondeterministic_seeded,)
    operator = torch.library.custom_op(f"bionemo::{name}", forward, mutates_args=(), tags=draws)
    backward_operator = torch.library.custom_op(f"bionemo::{name}_backward", backward, mutates_args=())

    @operator.register_fake
    def _(query: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        stats = query.new_empty(stats_shape(query.shape[0], query.shape[1]), dtype=torch.float32)
        return query.new_empty(query.shape), stats, query.new_empty(2, dtype=torch.uint64)

    @backward_operator.register_fake
    def _(grad: Tensor, query: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        return query.new_empty(query.shape), query.new_empty(query.shape), query.new_empty(query.shape)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        query, key, value, plan, ctx.max_seqlen, ctx.scale, ctx.dropout = inputs
        ctx.save_for_backward(query, key, value, *output, plan)
        ctx.set_materialize_grads(False)

    def differentiate(ctx: Any, grad: Tensor, *rest: Tensor | None) -> tuple[Tensor | None, ...]:
        grads = backward_operator(grad, *ctx.saved_tensors, ctx.max_seqlen, ctx.scale, ctx.dropout)
        return (*grads, None, None, None, None)

    operator.register_autograd(differentiate, setup_context=keep)

    def attend(
        query: Tensor, key: Tensor, value: Tensor, plan: Tensor, max_seqlen: int, scale: float, dropout: float
    ) -> Tensor:
        context: Tensor = operator(query, key, value, plan, max_seqlen, scale, dropout)[0]
        return context

    return attend
