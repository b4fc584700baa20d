# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Hidden states of one layer, without computing what comes after it: for embeddings."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.llm.model.biobert.model import MegatronBioBertModel


def layer_index(layer: int, num_layers: int) -> int:
    """Turn a layer counted from the last one into the number of blocks before it.

    Args:
        layer: 0 is the last, -1 the second to last, -L the embedding.
        num_layers: L.

    Returns:
        0 to L, the place among the L + 1 hidden states.

    Raises:
        ConfigError: There is no such layer.
    """
    if not -num_layers <= layer <= 0:
        raise ConfigError(f"layer {layer}: expected 0 (the last) to {-num_layers} (the embedding).")
    return num_layers + layer


def hidden_states_at(model: MegatronBioBertModel, batch: Mapping[str, Any], num_blocks: int) -> Tensor:
    """Run a packed batch through the first blocks only.

    Args:
        model: The model, whole on this rank.
        batch: A ``PackedBatch`` on the model's device.
        num_blocks: 0 to L, as :func:`layer_index` gives it.

    Returns:
        [T, H], entry ``num_blocks`` of ``forward_packed(...).all_hidden_states``.

    Raises:
        ConfigError: A sequence is longer than the learned positions.
    """
    inputs = (batch["input_ids"], batch["position_ids"], batch["cu_seqlens"], batch["max_seqlen"])
    return hidden_states_of(model, *inputs, num_tokens=batch["num_tokens"], blocks=(num_blocks,))[num_blocks]


def hidden_states_of(
    model: MegatronBioBertModel,
    input_ids: Tensor,
    position_ids: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    *,
    num_tokens: int,
    blocks: Collection[int],
) -> dict[int, Tensor]:
    """Run a packed batch through as many blocks as are asked for; arguments as in ``forward_packed``.

    Args:
        model: The model, whole on this rank.
        input_ids: [T] int64.
        position_ids: [T] int.
        cu_seqlens: [B + 1] int32.
        max_seqlen: Length that no sequence exceeds.
        num_tokens: Tokens that belong to a sequence.
        blocks: Numbers of blocks, 0 (the embedding) to L (the last block and the final LayerNorm).

    Returns:
        Number of blocks to hidden states [T, H].

    Raises:
        ConfigError: A sequence is longer than the learned positions.
    """
    states = model.first_states(input_ids, position_ids, cu_seqlens, max_seqlen)
    found = {0: states.squeeze(1)} if 0 in blocks else {}
    kernel = model.choose_kernel(states)
    table = model.sequence_table(position_ids, cu_seqlens, max_seqlen, num_tokens, kernel=kernel)
    layers = model.encoder.layers
    for number, layer in enumerate(layers[: max(blocks)], start=1):
        states, _ = layer(hidden_states=states, attention_mask=table)
        if number in blocks:
            is_last = number == len(layers) and model.encoder.final_layernorm is not None
            found[number] = (model.encoder.final_layernorm(states) if is_last else states).squeeze(1)
    return found
