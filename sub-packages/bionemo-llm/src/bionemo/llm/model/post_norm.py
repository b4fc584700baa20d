# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The residual sum of a post-LN transformer layer (Vaswani et al. 2017; Devlin et al. 2019)."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.llm.model.plain_layers import PlainLayerNorm


OutputAndBias = tuple[Tensor, Tensor | None]


class PostNormResidual(nn.Module):
    """Fills Megatron's bias-dropout-add slots with ``LayerNorm(residual + dropout(x + bias))``.

    Args:
        config: Megatron's transformer config.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layer_norm = PlainLayerNorm(config, config.hidden_size, eps=config.layernorm_epsilon)

    def forward(self, training: bool, fused: bool) -> Callable[[OutputAndBias, Tensor, float], Tensor]:
        """Give the function that Megatron's layer calls; there is no fused form."""

        def add_and_normalise(output_and_bias: OutputAndBias, residual: Tensor, dropout: float) -> Tensor:
            output, bias = output_and_bias
            if bias is not None:
                output = output + bias
            total: Tensor = self.layer_norm(residual + F.dropout(output, dropout, training))
            return total

        return add_and_normalise
