# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which part of a model a process builds, and with whom it shares the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bionemo.llm.model.plain_layers import one_rank_groups


if TYPE_CHECKING:
    from megatron.core.transformer.transformer_config import TransformerConfig


@dataclass(frozen=True)
class Placement:
    """One process's place in a model that may be spread over many.

    Attributes:
        config: Megatron's config, with the parallel sizes; the training engine holds the same object.
        groups: The ranks of each kind, ``tp``, ``pp`` and ``cp`` at least; default: one rank of each.
        pre_process: Whether the embedding is here.
        post_process: Whether the head is here.
        vp_stage: Which model chunk of its pipeline stage this is; None where stages are of one model chunk.
    """

    config: TransformerConfig
    groups: Any = field(default_factory=one_rank_groups)
    pre_process: bool = True
    post_process: bool = True
    vp_stage: int | None = None

    @property
    def is_tensor_parallel(self) -> bool:
        """Whether matrices are shared."""
        return int(self.groups.tp.size()) > 1

    @property
    def is_context_parallel(self) -> bool:
        """Whether the tokens of a packed batch are shared."""
        return int(self.groups.cp.size()) > 1

    @property
    def holds_whole_model(self) -> bool:
        """Whether this process has every parameter and sees every token."""
        return self.pre_process and self.post_process and not (self.is_tensor_parallel or self.is_context_parallel)

    @property
    def needs_whole_packs(self) -> bool:
        """Whether packed batches are computed with their tail: stages exchange, and ranks share, packs of one size."""
        return self.groups.pp.size() > 1 or self.is_context_parallel or bool(self.config.sequence_parallel)

    def own_tokens(self, num_tokens: int) -> slice:
        """This rank's run of a packed batch's tokens; the ranks of the context group have equal runs, in order."""
        size = num_tokens // self.groups.cp.size()
        first = self.groups.cp.rank() * size
        return slice(first, first + size)

    @property
    def num_layers(self) -> int:
        """Layers that are built here."""
        if self.groups.pp.size() == 1:
            return int(self.config.num_layers)
        from megatron.core.transformer.transformer_block import get_num_layers_to_build

        return int(get_num_layers_to_build(self.config, self.vp_stage, self.groups.pp.rank()))
