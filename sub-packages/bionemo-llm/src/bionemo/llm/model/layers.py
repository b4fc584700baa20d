# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Layers that fill single slots of Megatron-core's module specs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from bionemo.core.optional_deps import require


if TYPE_CHECKING:
    from megatron.core.transformer.transformer_config import TransformerConfig


class ESM2QueryScaling(nn.Module):
    """Multiplies the query by 1 / sqrt(head dim), before its rotary positions, as ESM-2 does.

    It stands in the slot of the query's norm. The softmax scale behind it has to be 1.

    Source: Rives et al. 2021 and Lin et al. 2023, multi-head attention of fair-esm.
    """

    def __init__(
        self,
        config: TransformerConfig,
        hidden_size: int | None = None,
        eps: float | None = None,
        **rest: Any,
    ) -> None:
        """Take the head dimension from the model's sizes.

        Args:
            config: Megatron's; ``kv_channels`` is the head dimension, by default hidden size / heads.
            hidden_size: What Megatron hands to a query norm; not needed, there are no parameters.
            eps: As ``hidden_size``.
            rest: As ``hidden_size``.
        """
        super().__init__()
        head_dim = getattr(config, "kv_channels", None) or config.hidden_size // config.num_attention_heads
        self.scale = head_dim**-0.5

    def forward(self, query: Tensor) -> Tensor:
        """Scale a query of any shape; dtype and shape stay."""
        scaled: Tensor = query * self.scale
        return scaled


class TELayerNorm:
    """Transformer Engine's LayerNorm under Megatron's constructor; calling this class gives the module itself."""

    def __new__(cls, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **rest: Any) -> Any:
        """Build the norm.

        Args:
            config: Megatron's; its ``sequence_parallel`` and ``layernorm_zero_centered_gamma`` apply.
            hidden_size: Size of the last dimension.
            eps: Added to the variance.
            rest: Further keywords of Megatron's builder; none is needed.

        Raises:
            MissingDependencyError: Transformer Engine is not installed.
        """
        te = require("transformer_engine.pytorch", extra="transformer-engine[pytorch]")
        return te.LayerNorm(
            hidden_size,
            eps=eps,
            sequence_parallel=config.sequence_parallel,
            zero_centered_gamma=config.layernorm_zero_centered_gamma,
        )
