# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Core attention over packed sequences: one door to the kernels, for Megatron-core's ``core_attention`` slot.

The encoder always sees one batch row of ``T`` tokens that belong to ``B`` sequences; attention never crosses a
sequence border. Where the sequences lie and their rotary angles travel through Megatron's layers as one
:class:`~bionemo.llm.model.varlen.reference.SequenceTable` in the place of the attention mask, so that no layer
computes them again.

Letters: T tokens of a packed batch, B sequences, N attention heads, D head dim.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.llm.model.rotary import rotate
from bionemo.llm.model.varlen.kernels import KERNELS
from bionemo.llm.model.varlen.reference import SequenceTable, sequence_by_sequence_attention


def takes_varlen_kernel(device: torch.device, dtype: torch.dtype, head_dim: int) -> bool:
    """Whether a variable-length kernel may run: half precision on a GPU."""
    return device.type == "cuda" and dtype in (torch.float16, torch.bfloat16) and head_dim % 8 == 0


def varlen_attention(
    query_TND: Tensor, key_TND: Tensor, value_TND: Tensor, table: SequenceTable, scale: float, dropout: float = 0.0
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
    arguments = (query_TND, key_TND, value_TND, table.plan, table.max_seqlen, scale)
    kernel = KERNELS[table.kernel]
    if dropout:
        assert kernel.attend_with_dropout is not None
        context = kernel.attend_with_dropout(*arguments, dropout)
    else:
        context = kernel.attend(*arguments)
    return F.pad(context, (0, 0, 0, 0, 0, tail)) if tail else context


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
            attention_mask: The packed batch's :class:`SequenceTable`.
            rest: Megatron's further arguments, all None here.

        Returns:
            [T, 1, N * D].
        """
        table = attention_mask
        query, key, value = query.squeeze(1), key.squeeze(1), value.squeeze(1)
        if table.cos is not None and table.sin is not None:
            query, key = rotate(query, table.cos, table.sin), rotate(key, table.cos, table.sin)
        dropout = self.attention_dropout if self.training else 0.0
        if table.kernel is not None:
            if table.cos is not None and torch.is_grad_enabled():
                # Kept for the backward pass as they are, the values would keep the whole projection that they lie in.
                value = value.contiguous()
            context = varlen_attention(query, key, value, table, self.softmax_scale, dropout)
        else:
            context = sequence_by_sequence_attention(query, key, value, table, self.softmax_scale, dropout)
        return context.reshape(context.shape[0], 1, -1)
