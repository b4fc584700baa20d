# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Hidden states of one layer, without computing what comes after it: for embeddings."""

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.llm.data.packing import SLOTS_MULTIPLE, cover_tail
from bionemo.llm.model.biobert.model import MegatronBioBertModel


Batch = TypeVar("Batch", bound=Mapping[str, Any])


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
    if num_blocks == len(model.encoder.layers):  # also the final LayerNorm, where the model has one
        return model.forward_packed(*inputs, num_tokens=batch["num_tokens"], skip_logits=True).hidden_states
    input_ids, position_ids, cu_seqlens, max_seqlen = inputs
    embedding = model.embedding
    assert embedding is not None  # a whole model
    if embedding.position_embeddings is not None and max_seqlen > embedding.max_positions:
        raise ConfigError(
            f"a sequence of {max_seqlen} tokens exceeds the {embedding.max_positions} learned positions."
        )
    hidden_states: Tensor = embedding(input_ids, position_ids, cu_seqlens)
    kernel = model.choose_kernel(hidden_states)
    table = model.sequence_table(position_ids, cu_seqlens, max_seqlen, batch["num_tokens"], kernel=kernel)
    hidden_states = hidden_states.unsqueeze(1)
    for layer in model.encoder.layers[:num_blocks]:
        hidden_states, _ = layer(hidden_states=hidden_states, attention_mask=table)
    return hidden_states.squeeze(1)


def with_static_shapes(batch: Batch, max_seqlen: int) -> Batch:
    """Return a pack whose shapes are those of every pack of its token budget: its tail is divided into sequences too.

    Compiled layers and the metadata of varlen kernels are made once for each shape. The hidden states of the tail mean
    nothing and are as many as before.

    Args:
        batch: A ``PackedBatch`` on the CPU.
        max_seqlen: Length that no sequence exceeds.
    """
    num_tokens = len(batch["input_ids"])
    cu_seqlens = cover_tail(batch["cu_seqlens"], batch["num_sequences"], num_tokens, max_seqlen, SLOTS_MULTIPLE)
    static: Any = {**batch, "cu_seqlens": cu_seqlens, "num_tokens": num_tokens, "max_seqlen": max_seqlen}
    result: Batch = static
    return result
