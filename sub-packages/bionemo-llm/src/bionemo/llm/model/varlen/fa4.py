# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""FlashAttention 4 from the package ``flash-attn-4`` (extra ``[fa4]``), a beta whose version is pinned.

It compiles about ten seconds at first use and a few more for each further head dim. Its query gradient is wrong at a
head dim of 16 without saying so, one reason why :mod:`bionemo.llm.model.varlen.kernels` checks before it chooses.

Letters: T tokens, B sequences, N attention heads, D head dim.
"""

from torch import Tensor

from bionemo.llm.model.varlen.registration import register_attention


def _forward(
    query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor, max_seqlen: int, scale: float
) -> tuple[Tensor, Tensor]:
    from flash_attn.cute.interface import _flash_attn_fwd

    context, log_sum = _flash_attn_fwd(
        query, key, value, cu_seqlens_q=cu_seqlens, cu_seqlens_k=cu_seqlens,
        max_seqlen_q=max_seqlen, max_seqlen_k=max_seqlen, softmax_scale=scale, return_lse=True,
    )[:2]  # fmt: skip
    return context, log_sum


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


attend = register_attention("fa4_attention", _forward, _backward, stats_shape=lambda tokens, heads: (heads, tokens))
"""Attend within each sequence; metadata, arguments and result as in :mod:`bionemo.llm.model.varlen.torch_flash`."""
