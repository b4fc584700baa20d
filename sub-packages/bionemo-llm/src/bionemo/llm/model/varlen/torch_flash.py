# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""torch's own FlashAttention 2 for sequences of different lengths: no extra package.

Letters: T tokens, B sequences, N attention heads, D head dim.
"""

import torch
from torch import Tensor

from bionemo.llm.model.varlen.registration import register_attention_with_dropout


def plan(cu_seqlens: Tensor, num_heads: int, head_dim: int) -> Tensor:
    """Return what the kernel needs to know of a packed batch: ``cu_seqlens`` [B + 1] int32 as it is."""
    return cu_seqlens


def attend(query: Tensor, key: Tensor, value: Tensor, plan: Tensor, max_seqlen: int, scale: float) -> Tensor:
    """Attend within each sequence.

    Args:
        query: [T, N, D] float16 or bfloat16, D a multiple of 8.
        key: As ``query``.
        value: As ``query``.
        plan: From :func:`plan`.
        max_seqlen: Length of the longest sequence, or more.
        scale: Factor of the scores.

    Returns:
        [T, N, D]; rows behind the last sequence are not written.
    """
    from torch.nn.attention.varlen import varlen_attn

    context = varlen_attn(query, key, value, plan, plan, max_seqlen, max_seqlen, scale=scale)
    assert isinstance(context, Tensor)  # a pair with return_aux
    return context


def _forward_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor, max_seqlen: int, scale: float, dropout: float
) -> tuple[Tensor, Tensor, Tensor]:
    context, log_sum, rng_state, _, _ = torch.ops.aten._flash_attention_forward(
        query, key, value, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, dropout, False, False, scale=scale
    )
    return context, log_sum, rng_state


def _backward_with_dropout(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, context: Tensor, log_sum: Tensor, rng_state: Tensor,
    cu_seqlens: Tensor, max_seqlen: int, scale: float, dropout: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    unused = torch.empty((), dtype=torch.uint64, device=query.device)
    grads = torch.ops.aten._flash_attention_backward(
        grad.contiguous(), query, key, value, context, log_sum, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen,
        dropout, False, rng_state, unused, scale=scale,
    )  # fmt: skip
    return grads[0].contiguous(), grads[1].contiguous(), grads[2].contiguous()


attend_with_dropout = register_attention_with_dropout(
    "flash_attention_with_dropout",
    _forward_with_dropout,
    _backward_with_dropout,
    stats_shape=lambda tokens, heads: (heads, tokens),
)
"""As :func:`attend`, with a last argument: the probability with which each attention weight is dropped.

``varlen_attn`` fixes that at zero; the operator below it has it. Its mask is checked at start-up like a kernel.
"""
