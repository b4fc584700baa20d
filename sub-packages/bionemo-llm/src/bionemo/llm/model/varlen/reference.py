# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Where the sequences of a packed batch lie, and their attention with torch's scaled dot product: the reference.

It runs on every device and in every dtype; the variable-length kernels are checked against it.

Letters: T tokens of a pack, B sequences, N attention heads, D head dim.
"""

from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class SequenceTable(NamedTuple):
    """Where the sequences of one packed batch lie, and what the attention of every layer shares.

    Attributes:
        cu_seqlens: [B + 1] int32, first token of each sequence and the end of the last one; equal neighbors are
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


def sequence_by_sequence_attention(
    query_TND: Tensor, key_TND: Tensor, value_TND: Tensor, table: SequenceTable, scale: float, dropout: float = 0.0
) -> Tensor:
    """Attention of one sequence after the other with torch's scaled dot product: every device, every dtype.

    Neighbors of one length go through together, unless dropout would keep their attention weights. ``split`` rather
    than slices: its gradient is one concatenation, while each slice's would fill a whole packed batch.
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
