# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""torch's own FlashAttention 2 for sequences of different lengths: no extra package.

Letters: T tokens, B sequences, N attention heads, D head dim.
"""

from torch import Tensor


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

    context: Tensor = varlen_attn(query, key, value, plan, plan, max_seqlen, max_seqlen, scale=scale)
    return context
