# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Types that models and losses on Megatron-core share."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from megatron.core.transformer.module import MegatronModule
from torch import Tensor


__all__ = ["BionemoMegatronModel", "MegatronLossReduction", "MegatronLossType", "MegatronModelType"]

BionemoMegatronModel = MegatronModule
"""Base class of every model here."""


@runtime_checkable
class MegatronLossReduction(Protocol):
    """A loss in two halves: sums per micro-batch, then the mean over micro-batches and ranks.

    ``bionemo.llm.model.loss.BERTMLMLossWithReduction`` is one.
    """

    def forward(
        self, batch: Mapping[str, Tensor], forward_out: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Mapping[str, Any]]:
        """Sum the loss of one micro-batch; gives the sum, the number it sums over, and what ``reduce`` wants."""

    def reduce(self, losses_reduced_per_micro_batch: Sequence[Mapping[str, Any]]) -> Tensor:
        """Mean over micro-batches and data-parallel ranks."""


MegatronModelType = TypeVar("MegatronModelType", bound=MegatronModule)
MegatronLossType = TypeVar("MegatronLossType", bound=MegatronLossReduction)
