# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Logits at the masked tokens of a packed batch, without computing what they do not depend on.

Two parts of an ESM-2 are cheaper than `forward_packed` makes them, with the same result:

- In the first block, LayerNorm and the query, key and value before their rotary positions depend on a token and the
  scale of token dropout alone. A pack of masked copies has a few dozen such pairs, so they are looked up in a table.
- In the last block only keys and values are needed of every token; the query, the projection, the feed-forward network
  and the head are computed for the masked tokens.

Letters: T tokens of a pack, M masked tokens, U different pairs of token and scale, H hidden, N attention heads,
D head dim, V vocabulary.
"""

from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bionemo.esm2.data.tokenizer import MASK_ID
from bionemo.esm2.model.block_parts import QueryKeyValue, after_attention, split_heads
from bionemo.esm2.model.model import ESM2Model
from bionemo.llm.model.rotary import rotate
from bionemo.llm.model.varlen.reference import SequenceTable


def masked_logits(model: ESM2Model, tokens: NDArray[np.uint8], lengths: NDArray[np.int64]) -> Tensor:
    """Run sequences that hold masks.

    Args:
        model: The model, whole on one device, in evaluation mode, with a masked-token head.
        tokens: [T], the sequences one after the other, special tokens included.
        lengths: [B], tokens of each; sequences with the same number of tokens and masks stand together for speed.

    Returns:
        [M, V] logits at the masked tokens, in the order of the pack.
    """
    rows = np.flatnonzero(tokens == MASK_ID)
    num_masks = np.bincount(np.repeat(np.arange(len(lengths)), lengths)[rows], minlength=len(lengths))
    device = next(model.parameters()).device
    ends = np.cumsum(lengths)
    position_ids = torch.from_numpy(np.arange(len(tokens)) - np.repeat(ends - lengths, lengths)).to(device)
    cu_seqlens = torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32)).to(device)
    input_ids = torch.from_numpy(tokens.astype(np.int64)).to(device)
    longest = int(lengths.max())
    states_TH = model.first_states(input_ids, position_ids, cu_seqlens, longest).squeeze(1)
    # Copies of one shape go through torch's attention together, on a GPU too: no kernel prepares for each pack.
    table = model.sequence_table(position_ids, cu_seqlens, longest, len(tokens), kernel=None)
    qkv: QueryKeyValue | None = _looked_up_qkv(model.encoder.layers[0], states_TH, tokens, lengths, num_masks)
    blocks = model.encoder.layers
    row_idx = torch.from_numpy(rows).to(device)
    for number, block in enumerate(blocks):
        if number == len(blocks) - 1:
            states_TH = _block_at_rows(block, states_TH, qkv, table, row_idx, lengths, num_masks)
        elif qkv is not None:
            context = block.self_attention.core_attention(*(part.unsqueeze(1) for part in qkv), table)
            states_TH = after_attention(block, states_TH, context.squeeze(1))
        else:
            states, _ = block(hidden_states=states_TH.unsqueeze(1), attention_mask=table)
            states_TH = states.squeeze(1)
        qkv = None
    return model.logits(model.encoder.final_layernorm(states_TH))


def _looked_up_qkv(
    block: Any,
    states_TH: Tensor,
    tokens: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    num_masks: NDArray[np.int64],
) -> QueryKeyValue:
    """Compute the first block's scaled query, key and value once for each pair of token and scale; [T, N, D] each."""
    _, shape_of_sequence = np.unique(np.stack((lengths, num_masks)), axis=1, return_inverse=True)
    pair_of_token = np.repeat(shape_of_sequence.reshape(-1) * 2**8, lengths) + tokens
    _, first, place = np.unique(pair_of_token, return_index=True, return_inverse=True)
    first_U, place_T = (torch.from_numpy(x.reshape(-1)).to(states_TH.device) for x in (first, place))
    mixed_UX, _ = block.self_attention.linear_qkv(block.input_layernorm(states_TH[first_U]))
    return split_heads(block.self_attention, mixed_UX[place_T])


def _block_at_rows(
    block: Any,
    states_TH: Tensor,
    qkv: QueryKeyValue | None,
    table: SequenceTable,
    row_idx: Tensor,
    lengths: NDArray[np.int64],
    num_masks: NDArray[np.int64],
) -> Tensor:
    """Compute a block's output at some tokens, [M, H]."""
    attention = block.self_attention
    heads, dim = attention.num_attention_heads_per_partition, attention.hidden_size_per_attention_head
    if qkv is None:
        normed_TH = block.input_layernorm(states_TH)
        weight, bias = attention.linear_qkv.weight, attention.linear_qkv.bias
        weight, bias = weight.view(heads, 3, dim, -1), bias.view(heads, 3, dim)
        key_value = F.linear(normed_TH, weight[:, 1:].flatten(0, 2), bias[:, 1:].flatten())
        key, value = key_value.view(-1, heads, 2, dim).unbind(2)
        query = F.linear(normed_TH[row_idx], weight[:, 0].flatten(0, 1), bias[:, 0].flatten())
        query = attention.q_layernorm(query.view(-1, heads, dim))
    else:
        query, key, value = qkv[0][row_idx], qkv[1], qkv[2]
    assert table.cos is not None
    assert table.sin is not None
    query = rotate(query, table.cos[row_idx], table.sin[row_idx])
    key = rotate(key, table.cos, table.sin)
    context = _attend_from_rows(query, key, value, lengths, num_masks, attention.core_attention.softmax_scale)
    return after_attention(block, states_TH[row_idx], context.flatten(1))


def _attend_from_rows(
    query_MND: Tensor,
    key_TND: Tensor,
    value_TND: Tensor,
    lengths: NDArray[np.int64],
    num_masks: NDArray[np.int64],
    scale: float,
) -> Tensor:
    """Attention of each masked token over its own sequence; neighbors of one shape go through together."""
    shapes = [
        (shape, len(list(run))) for shape, run in groupby(zip(lengths.tolist(), num_masks.tolist(), strict=True))
    ]
    query_sizes = [masks * count for (_, masks), count in shapes]
    key_sizes = [length * count for (length, _), count in shapes]
    parts = zip(
        shapes, query_MND.split(query_sizes), key_TND.split(key_sizes), value_TND.split(key_sizes), strict=True
    )
    contexts = []
    for (_, count), *qkv in parts:
        query, key, value = (x.unflatten(0, (count, -1)).transpose(1, 2) for x in qkv)
        attended = F.scaled_dot_product_attention(query, key, value, scale=scale)
        contexts.append(attended.transpose(1, 2).flatten(0, 1))
    return torch.cat(contexts)
