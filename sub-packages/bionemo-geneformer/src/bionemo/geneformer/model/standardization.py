# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Standardized cells for a head that is being trained.

Pooled cells share nearly everything: the mean of a few hundred genes has a norm over ten times its spread from cell
to cell. A head that starts there learns the common part first. Here each hidden dimension gets mean 0 and variance 1
over the cells of a batch while training (batch normalization, Ioffe and Szegedy 2015), and over training cells at the
present weights otherwise ("precise" statistics, Wu and Johnson 2021). Afterwards both go into the dense layer: a
saved model knows nothing of them.

Letters: N cells, H hidden.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.geneformer.model.heads import GeneformerWithHead


EPSILON = 1e-5
"""Added to variances, so that a hidden dimension that is equal in all cells does no harm."""


class StandardizedPooler(nn.Module):
    """A head's dense layer on standardized cells.

    Args:
        dense: The layer, [H, H].
    """

    mean_H: Tensor
    var_H: Tensor

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        self.dense = dense
        self.register_buffer("mean_H", torch.zeros(dense.in_features))
        self.register_buffer("var_H", torch.ones(dense.in_features))

    def forward(self, pooled_NH: Tensor) -> Tensor:
        """Return [N, H]; a batch of one cell has no statistics of its own and takes the training cells'."""
        if self.training and len(pooled_NH) > 1:
            standard_NH = F.batch_norm(pooled_NH, None, None, training=True, eps=EPSILON)
        else:
            standard_NH = F.batch_norm(pooled_NH, self.mean_H, self.var_H, eps=EPSILON)
        outputs: Tensor = self.dense(standard_NH)
        return outputs

    def measure(self, pooled_NH: Tensor) -> None:
        """Take mean and variance of [N, H] cells for those to come."""
        self.mean_H.copy_(pooled_NH.mean(dim=0))
        self.var_H.copy_(pooled_NH.var(dim=0, correction=0))

    @torch.no_grad()
    def absorb(self) -> nn.Linear:
        """Return the dense layer that does the same to cells as they are, in float64 on the way."""
        scale_H = (self.var_H.double() + EPSILON).rsqrt()
        weight = self.dense.weight.double() * scale_H
        self.dense.bias.copy_(self.dense.bias.double() - weight @ self.mean_H.double())
        self.dense.weight.copy_(weight)
        return self.dense


def standardize_cells(module: GeneformerWithHead) -> StandardizedPooler | None:
    """Standardize the pooled cells of a head, in place; None where the head is for genes."""
    pooler = module.head.pooler
    if not isinstance(pooler, nn.Linear):
        return None
    standardized = StandardizedPooler(pooler)
    module.head.pooler = standardized
    return standardized


def absorb_standardization(module: GeneformerWithHead) -> None:
    """Take `standardize_cells` back: the plain head gives the same predictions, up to rounding."""
    if isinstance(module.head.pooler, StandardizedPooler):
        module.head.pooler = module.head.pooler.absorb()
