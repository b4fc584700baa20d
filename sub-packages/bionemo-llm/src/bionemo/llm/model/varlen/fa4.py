# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""FlashAttention 4 from the package ``flash-attn-4`` (extra ``[fa4]``), a beta whose version is pinned.

It compiles about ten seconds at first use and a few more for each further head dim. Its query gradient is wrong at a
head dim of 16 without saying so, one reason why :mod:`bionemo.llm.model.varlen.kernels` checks before it chooses.

Letters: T tokens, B sequences, N attention heads, D head dim.
"""

from typing import Any

import torch
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, plan: Tensor, max_seqlen: int, scale: float) -> Tensor:
    """Attend within each sequence; plan, arguments and result as in :mod:`bionemo.llm.model.varlen.torch_flash`."""
    context: Tensor = _forward(query, key, value, plan, max_seqlen, scale)[0]
    return context


@torch.library.custom_op("bionemo::fa4_attention", mutates_args=())
def _forward(
    query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor, max_seqlen: int, scale: float
) -> tuple[Tensor, Tensor]:
    from flash_attn.cute.interface import _flash_attn_fwd

    context, log_sum = _flash_attn_fwd(
        query, key, value, cu_seqlens_q=cu_seqlens, cu_seqlens_k=cu_seqlens,
        max_seqlen_q=max_seqlen, max_seqlen_k=max_seqlen, softmax_scale=scale, return_lse=True,
    )[:2]  # fmt: skip
    return context, log_sum


@_forward.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor, max_seqlen: int, scale: float
) -> tuple[Tensor, Tensor]:
    num_tokens, num_heads, _ = query.shape
    return query.new_empty(query.shape), query.new_empty((num_heads, num_tokens), dtype=torch.float32)


@torch.library.custom_op("bionemo::fa4_attention_backward", mutates_args=())
def _backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, context: Tensor, log_sum: Tensor, cu_seqlens: Tensor,
    max_seqlen: int, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    from flash_attn.cute.interface import _flash_attn_bwd

    grads = tuple(query.new_empty(query.shape) for _ in range(3))
    _flash_attn_bwd(
        query, key, value, context, grad.contiguous(), log_sum, scale, False,
        cu_seqlens_q=cu_seqlens, cu_seqlens_k=cu_seqlens, max_seqlen_q=max_seqlen, max_seqlen_k=max_seqlen,
        dq=grads[0], dk=grads[1], dv=grads[2],
    )  # fmt: skip
    return grads[0], grads[1], grads[2]


@_backward.register_fake
def _(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, context: Tensor, log_sum: Tensor, cu_seqlens: Tensor,
    max_seqlen: int, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return query.new_empty(query.shape), query.new_empty(query.shape), query.new_empty(query.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, cu_seqlens, ctx.max_seqlen, ctx.scale = inputs
    ctx.save_for_backward(query, key, value, *output, cu_seqlens)
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad, *ctx.saved_tensors, ctx.max_seqlen, ctx.scale)
    return (*grads, None, None, None)


_forward.register_autograd(_differentiate, setup_context=_keep)
