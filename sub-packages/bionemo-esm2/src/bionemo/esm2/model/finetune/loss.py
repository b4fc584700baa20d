# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible losses: sums with the numbers that they are divided by, over all batches and ranks."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX


__all__ = ["ClassifierLossReduction", "RegressorLossReduction"]


class _SumAndCount(torch.nn.Module):
    """Base: ``forward`` gives a micro-batch's sum and count, ``reduce`` the mean of several."""

    def reduce(self, losses_reduced_per_micro_batch: "list[Mapping[str, Tensor]]") -> Tensor:
        """Return the mean loss of micro-batches: the sum of their sums over the sum of their counts."""
        totals = torch.stack([losses["loss_sum_and_count"] for losses in losses_reduced_per_micro_batch]).sum(dim=0)
        mean: Tensor = totals[0] / totals[1].clamp(min=1)
        return mean

    @staticmethod
    def _result(loss_sum: Tensor, count: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        detached = torch.stack([loss_sum.detach().double(), count.detach().double()])
        return loss_sum, count, {"loss_sum_and_count": detached}


class RegressorLossReduction(_SumAndCount):
    """Sum of squared errors of ``regression_output`` [B, 1] against ``labels`` [B, 1]."""

    def forward(
        self, batch: Mapping[str, Any], forward_out: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return sum, number of values, and both for `reduce`."""
        labels = batch["labels"]
        loss = F.mse_loss(forward_out["regression_output"].float(), labels.float(), reduction="sum")
        return self._result(loss, torch.tensor(labels.numel(), device=labels.device))


class ClassifierLossReduction(_SumAndCount):
    """Sum of the cross-entropy of ``classification_output``: [B, C] with labels [B, 1], or [B, S, C] with [B, S]."""

    def forward(
        self, batch: Mapping[str, Any], forward_out: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return sum, number of labels, and both for `reduce`; the loss mask of residues takes labels out."""
        output, labels = forward_out["classification_output"], batch["labels"]
        if output.ndim == 3:
            labels = labels.masked_fill(~batch["loss_mask"].bool(), MLM_LOSS_IGNORE_INDEX)
        flat = labels.reshape(-1)
        loss = F.cross_entropy(
            output.reshape(-1, output.shape[-1]).float(), flat, ignore_index=MLM_LOSS_IGNORE_INDEX, reduction="sum"
        )
        return self._result(loss, (flat != MLM_LOSS_IGNORE_INDEX).sum())
