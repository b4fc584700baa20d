# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Core attention over packed sequences: one door to the kernels, for Megatron-core's ``core_attention`` slot.

The encoder always sees one batch row of ``T`` tokens that belong to ``B`` sequences; attention never crosses a
sequence border. Where the sequences lie and their rotary angles travel through Megatron's layers as one
:class:`SequenceTable` in the place of the attention mask, so that no layer computes them again.

Letters: T tokens of a pack, B sequences, N attention heads, D head dim.
"""

from itertools import groupby
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.llm.model.rotary import rotate
from bionemo.llm.model.varlen.kernels import KERNELS


class SequenceTable(NamedTuple):
    """Where the sequences of one pack lie, and what the attention of every layer shares.

    Attributes:
        cu_seqlens: [B + 1] int32, first token of each sequence and the end of the last one; equal neighbours are
            empty slots.
        max_seqlen: Length of the longest sequence, a Python int so that no device is waited for.
        num_tokens: Tokens that belong to a sequence, the last entry of ``cu_seqlens`` on the host.
        lengths: Lengths of the non-empty sequences on the host; None where a varlen kernel runs.
        cos, sin: [T, 1, D / 2] float32 rotary factors of every token; None without rotary positions.
        kernel: Key of ``bionemo.llm.model.varlen.kernels.KERNELS``; None: sequence by sequence.
        plan: What that kernel wants to know of the pack, made once for all layers.
    """

    cu_seqlens: Tensor
    max_seqlen: int
    num_tokens: int
    lengths: tuple[int, ...] | None
    cos: Tensor | None
    sin: Tensor | None
    kernel: str | None = None
    plan: Tensor | None = None


def takes_varlen_kernel(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether a variable-length kernel may run: half precision on a GPU."""
    return device.type == "cuda" and dtype in (torch.float16, torch.bfloat16) and head_dim % 8 == 0


def varlen_attention(
    query_TND: Tensor, key_TND: Tensor, value_TND: Tensor, table: SequenceTable, scale: float
) -> Tensor:
    """Attention of all sequences in one kernel.

    Kernels write nothing behind the last sequence, neither in the result nor in the gradients, so they never see a
    tail: that comes out zero and gets zero gradients.
    """
    assert table.kernel is not None
    assert table.plan is not None
    tail = query_TND.shape[0] - table.num_tokens
    if tail:
        query_TND, key_TND, value_TND = (x[: table.num_tokens] for x in (query_TND, key_TND, value_TND))
    context = KERNELS[table.kernel].attend(query_TND, key_TND, value_TND, table.plan, table.max_seqlen, scale)
    return F.pad(context, (0, 0, 0, 0, 0, tail)) if tail else context


def sequence_by_sequence_attention(
    query_TND: Tensor, key_TND: Tensor, value_TND: Tensor, table: SequenceTable, scale: float, dropout: float = 0.0
) -> Tensor:
    """Attention of one sequence after the other with torch's scaled dot product: every device, every dtype.

    Neighbours of one length go through together, unless dropout would keep their attention weights. ``split`` rather
    than slices: its gradient is one concatenation, while each slice's would fill a whole pack.
    """
    lengths = table.lengths
    if lengths is None:
        lengths = tuple(length for length in table.cu_seqlens.diff().tolist() if length)
    runs = [(length, 1) for length in lengths]
    if dropout == 0.0:
        runs = [(length, len(list(run))) for length, run in groupby(lengths)]
    tail = query_TND.shape[0] - sum(lengths)
    sizes = [length * count for length, count in runs] + ([tail] if tail else [])
    outputs = []
    for idx, parts in enumerate(zip(*(x.split(sizes) for x in (query_TND, key_TND, value_TND)), strict=True)):
        if idx == len(runs):
            outputs.append(torch.zeros_like(parts[2]))
            continue
        length, count = runs[idx]
        query, key, value = (part.unflatten(0, (count, length)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=scale)
        outputs.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs) if outputs else torch.zeros_like(value_TND)


class PackedCoreAttention(nn.Module):
    """Rotary positions and softmax attention of a packed batch, in Megatron-core's ``core_attention`` slot.

    Args:
        config: Megatron's transformer config; read are ``softmax_scale``, ``attention_dropout`` and ``kv_channels``.
        rest: What Megatron also hands over (layer number, mask type, process groups); nothing here depends on it.
    """

    def __init__(self, config: Any, **rest: Any) -> None:
        super().__init__()
        self.softmax_scale = config.softmax_scale if config.softmax_scale is not None else config.kv_channels**-0.5
        self.attention_dropout = config.attention_dropout

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: SequenceTable, **rest: Any) -> Tensor:
        """Attend within each sequence.

        Args:
            query: [T, 1, N, D] before rotary positions.
            key: As ``query``.
            value: [T, 1, N, D].
            attention_mask: The pack's :class:`SequenceTable`.
            rest: Megatron's further arguments, all None here.

        Returns:
            [T, 1, N * D].
        """
        table = attention_mask
        query, key, value = query.squeeze(1), key.squeeze(1), value.squeeze(1)
        if table.cos is not None:
            query, key = rotate(query, table.cos, table.sin), rotate(key, table.cos, table.sin)
        dropout = self.attention_dropout if self.training else 0.0
        if dropout == 0.0 and table.kernel is not None:
            if table.cos is not None:
                # Kept for the backward pass as they are, the values would keep the whole projection that they lie in.
                value = value.contiguous()
            context = varlen_attention(query, key, value, table, self.softmax_scale)
        else:
            context = sequence_by_sequence_attention(query, key, value, table, self.softmax_scale, dropout)
        return context.reshape(context.shape[0], 1, -1)
