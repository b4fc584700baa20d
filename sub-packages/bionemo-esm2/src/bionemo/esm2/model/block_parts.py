# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of an encoder block, for forward passes that need less, or see more, than the whole block gives.

Letters: T tokens, N attention heads, D head dim, H hidden.
"""

from typing import Any

from torch import Tensor


QueryKeyValue = tuple[Tensor, Tensor, Tensor]


def query_key_value(block: Any, states_TH: Tensor) -> QueryKeyValue:
    """Compute a block's scaled query, key and value before their rotary positions, [T, N, D] each.

    Args:
        block: A layer of ``model.encoder.layers``, whole on one device.
        states_TH: What the block reads.
    """
    mixed_TX, _ = block.self_attention.linear_qkv(block.input_layernorm(states_TH))
    return split_heads(block.self_attention, mixed_TX)


def split_heads(attention: Any, mixed_TX: Tensor) -> QueryKeyValue:
    """Split the fused projection, [T, 3 N D], and scale the query."""
    heads, dim = attention.num_attention_heads_per_partition, attention.hidden_size_per_attention_head
    query, key, value = mixed_TX.view(-1, heads, 3, dim).unbind(2)
    return attention.q_layernorm(query), key, value


def after_attention(block: Any, residual_TH: Tensor, context_TH: Tensor) -> Tensor:
    """Compute the rest of a block from what its attention gives."""
    projected, _ = block.self_attention.linear_proj(context_TH)
    states = residual_TH + projected
    out, _ = block.mlp(block.pre_mlp_layernorm(states))
    result: Tensor = states + out
    return result
