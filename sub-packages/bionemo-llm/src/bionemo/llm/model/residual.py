# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The residual sums of a transformer layer: pre-LN, and post-LN (Vaswani et al. 2017; Devlin et al. 2019).

Megatron's own sum works in place where no gradient is wanted. In a compiled layer that makes its result a view, which
breaks the graph of every layer in validation.
"""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.llm.model.half_precision import KeepsFloat32
from bionemo.llm.model.plain_layers import PlainLayerNorm


OutputAndBias = tuple[Tensor, Tensor | None]
AddResidual = Callable[[OutputAndBias, Tensor, float], Tensor]


def residual_sum(training: bool, fused: bool) -> AddResidual:
    """Fill Megatron's bias-dropout-add slots with ``residual + dropout(x + bias)``, in the dtype of ``x``.

    Args:
        training: Whether there is dropout.
        fused: There is no fused form.

    Returns:
        The function that Megatron's layer calls.
    """

    def add(output_and_bias: OutputAndBias, residual: Tensor, dropout: float) -> Tensor:
        output = dropped(output_and_bias, dropout, training)
        return residual.to(output.dtype) + output

    return add


def dropped(output_and_bias: OutputAndBias, dropout: float, training: bool) -> Tensor:
    """Return ``dropout(x + bias)``."""
    output, bias = output_and_bias
    if bias is not None:
        output = output + bias
    return F.dropout(output, dropout, training)


class PostNormResidual(KeepsFloat32, nn.Module):
    """Fills Megatron's bias-dropout-add slots with ``LayerNorm(residual + dropout(x + bias))``.

    Args:
        config: Megatron's transformer config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer_norm = PlainLayerNorm(config, config.hidden_size, eps=config.layernorm_epsilon)

    def forward(self, training: bool, fused: bool) -> AddResidual:
        """Return the function that Megatron's layer calls; there is no fused form."""

        def add_and_normalise(output_and_bias: OutputAndBias, residual: Tensor, dropout: float) -> Tensor:
            total: Tensor = self.layer_norm(residual + dropped(output_and_bias, dropout, training))
            return total

        return add_and_normalise
