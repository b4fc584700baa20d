# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Core attention of a packed batch whose tokens are shared by the ranks of a context-parallel group.

Each rank has an equal run of the pack's tokens. It computes the queries, keys and values of its own, gathers the keys
and values of all, and attends from its own queries to the whole of their sequences. Backwards, the gradients of keys
and values are summed over the ranks and each gets those of its own tokens.

Letters: T tokens of the pack, L tokens of this rank, B sequences, N attention heads, D head dim.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bionemo.llm.model.attention import PackedCoreAttention
from bionemo.llm.model.rotary import rotate
from bionemo.llm.model.varlen.reference import SequenceTable


class ContextTable(NamedTuple):
    """What every layer's attention needs to know of a packed batch and of this rank's share.

    Attributes:
        pack: The whole pack; its ``cos`` and ``sin`` are those of this rank's tokens, [L, 1, D / 2].
        query_cu_seqlens: [B + 1] int32, where this rank's part of each sequence begins among its own tokens.
        query_lengths, key_lengths: Tokens of each sequence here and in all, on the host; None on a GPU.
        num_queries: This rank's tokens that belong to a sequence.
    """

    pack: SequenceTable
    query_cu_seqlens: Tensor
    query_lengths: tuple[int, ...] | None
    key_lengths: tuple[int, ...] | None
    num_queries: int


def context_table(pack: SequenceTable, own: slice) -> ContextTable:
    """Describe one rank's share of a packed batch.

    Args:
        pack: The whole pack, with the rotary factors of all T tokens.
        own: This rank's tokens.
    """
    first, size = own.start, own.stop - own.start
    query_cu_seqlens = (pack.cu_seqlens - first).clamp(0, size)
    query_lengths = key_lengths = None
    if pack.kernel is None:
        query_lengths, key_lengths = tuple(query_cu_seqlens.diff().tolist()), tuple(pack.cu_seqlens.diff().tolist())
    if pack.cos is not None:
        pack = pack._replace(cos=pack.cos[own], sin=pack.sin[own] if pack.sin is not None else None)
    num_queries = min(max(pack.num_tokens - first, 0), size)
    return ContextTable(pack, query_cu_seqlens, query_lengths, key_lengths, num_queries)


class ContextParallelCoreAttention(PackedCoreAttention):
    """Attention from this rank's tokens to the whole packed batch, in Megatron-core's ``core_attention`` slot.

    Args:
        config: See :class:`PackedCoreAttention`.
        pg_collection: Its ``cp`` is the group that shares the pack.
        rest: What Megatron also hands over.
    """

    def __init__(self, config: Any, pg_collection: Any = None, **rest: Any) -> None:
        super().__init__(config, **rest)
        self.group = pg_collection.cp

    def forward(  # type: ignore[override]  # the table is another one
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: ContextTable, **rest: Any
    ) -> Tensor:
        """Attend within each sequence.

        Args:
            query: [L, 1, N, D] before rotary positions.
            key: As ``query``.
            value: [L, 1, N, D].
            attention_mask: The packed batch's :class:`ContextTable`.
            rest: Megatron's further arguments, all None here.

        Returns:
            [L, 1, N * D]; zero where a token belongs to no sequence.
        """
        from megatron.core.tensor_parallel import gather_from_sequence_parallel_region

        table = attention_mask
        query, key, value = query.squeeze(1), key.squeeze(1), value.squeeze(1)
        cos, sin = table.pack.cos, table.pack.sin
        if cos is not None and sin is not None:
            query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        gathered = gather_from_sequence_parallel_region(torch.cat((key, value), dim=-1), group=self.group)
        key, value = gathered.split((key.shape[-1], value.shape[-1]), dim=-1)
        dropout = self.attention_dropout if self.training else 0.0
        if table.query_lengths is None:
            context = _varlen_attention(query, key, value, table, self.softmax_scale)
        else:
            context = _attention_by_sequence(query, key, value, table, self.softmax_scale, dropout)
        return context.reshape(context.shape[0], 1, -1)


def _varlen_attention(query: Tensor, key: Tensor, value: Tensor, table: ContextTable, scale: float) -> Tensor:
    """All sequences in torch's varlen kernel, whose queries and keys may have different lengths."""
    from torch.nn.attention.varlen import varlen_attn

    tail = query.shape[0] - table.num_queries
    if table.num_queries == 0:
        return torch.zeros_like(query) + 0 * (key.sum() + value.sum())  # keeps the ranks' collectives together
    longest, num_keys = table.pack.max_seqlen, table.pack.num_tokens
    query, key, value = query[: table.num_queries].contiguous(), key[:num_keys], value[:num_keys]
    context = varlen_attn(
        query,
        key.contiguous(),
        value.contiguous(),
        table.query_cu_seqlens,
        table.pack.cu_seqlens,
        longest,
        longest,
        scale=scale,
    )
    assert isinstance(context, Tensor)  # a pair with return_aux
    return F.pad(context, (0, 0, 0, 0, 0, tail)) if tail else context


def _attention_by_sequence(
    query: Tensor, key: Tensor, value: Tensor, table: ContextTable, scale: float, dropout: float
) -> Tensor:
    """One sequence after the other with torch's scaled dot product: every device, every dtype."""
    assert table.query_lengths is not None
    assert table.key_lengths is not None
    num_keys, num_queries = table.pack.num_tokens, table.num_queries
    queries = query[:num_queries].split(table.query_lengths)
    keys, values = key[:num_keys].split(table.key_lengths), value[:num_keys].split(table.key_lengths)
    outputs = []
    for parts in zip(queries, keys, values, strict=True):
        if parts[0].shape[0]:
            q, k, v = (part.transpose(0, 1).unsqueeze(0) for part in parts)
            attended = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)
            outputs.append(attended.squeeze(0).transpose(0, 1))
    # The tail, or a share without any sequence: zeros that still depend on the keys, so that every rank takes part
    # in the sum of their gradients.
    outputs.append(query[num_queries:] * 0 + 0 * (key.sum() + value.sum()))
    return torch.cat(outputs)
