# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which slice of every whole tensor a rank holds, in Megatron-core's words, and how to fill it from whole tensors.

Names are those of the model on one device, with layers counted over all pipeline stages, so that a whole state dict,
a checkpoint in Hugging Face layout and a sharded checkpoint all speak of the same tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.utils import make_tp_sharded_tensor_for_checkpoint

from bionemo.core.errors import CheckpointError


if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from bionemo.llm.model.device_placement import Placement


METADATA = {"non_homogeneous_layers": True, "singleton_local_shards": False, "chained_optim_avoid_prefix": True}
"""How Megatron names what it saves: one tensor a layer, under its number in the whole model."""

WORD_TABLE = "embedding.word_embeddings.weight"
OUTPUT_WEIGHT, OUTPUT_BIAS = "output_layer.weight", "output_layer.bias"
ROTARY = "rotary_pos_emb.inv_freq"


class PartOfModel(Protocol):
    """One rank's part of a model, as ``MegatronBioBertModel`` is."""

    placement: Placement
    vp_stage: int | None
    share_embeddings_and_output_weights: bool

    def sharded_state_dict(self, *, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
        """Describe this rank's shard of every tensor of the whole model, by name."""


def shard_shared_parts(sharded: dict[str, Any], model: PartOfModel, prefix: str = "") -> None:
    """Correct, in place, what Megatron's default says of parts that ranks share in a way of their own.

    The vocabulary is cut over the tensor-parallel ranks, and how far it is padded depends on their number; a tied
    output weight on the last stage is the embedding's; rotary frequencies are the same on all stages.

    Args:
        sharded: Megatron's description of the model's state by name.
        model: The part of the model on this rank.
        prefix: Of the names.
    """
    for name in (WORD_TABLE, OUTPUT_WEIGHT, OUTPUT_BIAS):
        if prefix + name in sharded:
            tensor = sharded[prefix + name].data
            key, replica = prefix + name, None
            if name == OUTPUT_WEIGHT and model.share_embeddings_and_output_weights:
                from megatron.core import parallel_state

                key = prefix + WORD_TABLE
                replica = (1, 0, parallel_state.get_data_parallel_rank(with_context_parallel=True))
            sharded[prefix + name] = make_tp_sharded_tensor_for_checkpoint(
                tensor, key, replica_id=replica, allow_shape_mismatch=True
            )
    if prefix + ROTARY in sharded:
        groups = model.placement.groups
        piece = groups.pp.rank() + groups.pp.size() * (model.vp_stage or 0)
        entry = sharded[prefix + ROTARY]
        entry.replica_id = (piece, *entry.replica_id[1:])


def load_whole_state(model: PartOfModel, state: Mapping[str, Tensor], source: object) -> None:
    """Copy this rank's slice of every tensor of a whole model's state dict.

    Args:
        model: The part of the model on this rank.
        state: The model's state dict on one device; its vocabulary may be padded to another size.
        source: What to name in errors.

    Raises:
        CheckpointError: A tensor is missing or of another shape.
    """
    with torch.no_grad():
        for part in model.sharded_state_dict(metadata=METADATA).values():
            assert isinstance(part, ShardedTensor)
            whole = state.get(part.key)
            if whole is None:
                raise CheckpointError(f"{source}: lacks {part.key}, a parameter of the model.")
            own = part.data
            if part.allow_shape_mismatch:
                first = part.global_offset[0]
                rows = whole[first : first + len(own)]
                own.zero_()
                own[: len(rows)].copy_(rows)
                continue
            if tuple(whole.shape) != tuple(part.global_shape):
                raise CheckpointError(
                    f"{source}: {part.key} has shape {tuple(whole.shape)}, the model has {tuple(part.global_shape)}. "
                    "The checkpoint is of another model size."
                )
            own.copy_(whole[part.global_slice()])
