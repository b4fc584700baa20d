# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Plain torch layers under Megatron-core's names and call forms, for models that live on one device.

Megatron's own parallel layers need an initialized process group even for one rank. These have the same parameter
names and shapes, so a state dict fits both, and keep the bias inside the product, which is faster than returning it.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.llm.model.half_precision import as_weights


class OneRankGroup:
    """What Megatron-core asks of a process group, answered for a single rank."""

    def size(self) -> int:
        """Number of ranks."""
        return 1

    def rank(self) -> int:
        """Own rank."""
        return 0


def one_rank_groups() -> SimpleNamespace:
    """Build the stand-in for Megatron's ``ProcessGroupCollection`` of a model on one device."""
    group = OneRankGroup()
    return SimpleNamespace(tp=group, pp=group, cp=group)


class PlainLinear(nn.Linear):
    """A linear layer with Megatron's constructor, returning ``(output, None)``: its bias is already added."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        config: Any,
        init_method: Callable[[Tensor], Any],
        bias: bool = True,
        **rest: Any,
    ) -> None:
        super().__init__(input_size, output_size, bias=bias, dtype=config.params_dtype)
        init_method(self.weight)
        if bias:
            nn.init.zeros_(self.bias)

    def forward(self, input_: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]  # Megatron's signature
        """Apply the layer to the last dimension."""
        weight = self.weight  # once: an adapted one is computed here
        return F.linear(as_weights(input_, weight), weight, self.bias), None

    def sharded_state_dict(self, prefix: str = "", sharded_offsets: Any = (), metadata: Any = None) -> dict[str, Any]:
        """Describe the whole layer, as Megatron's multi-layer perceptron asks each of its linears."""
        from megatron.core.transformer.utils import make_sharded_tensors_for_checkpoint

        state = self.state_dict(prefix="", keep_vars=True)
        described: dict[str, Any] = make_sharded_tensors_for_checkpoint(state, prefix, {}, sharded_offsets)
        return described


class PlainLayerNorm(nn.LayerNorm):
    """LayerNorm with Megatron's constructor; its parameters are marked for sequence-parallel gradients."""

    def __init__(self, config: Any, hidden_size: int, eps: float = 1e-5, **rest: Any) -> None:
        super().__init__(hidden_size, eps=eps, dtype=config.params_dtype)
        for parameter in self.parameters():
            parameter.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]  # read by Megatron


def init_normal(tensor: Tensor, std: float) -> Tensor:
    """Fill a tensor in place from a normal distribution around zero."""
    with torch.no_grad():
        return tensor.normal_(0.0, std)
