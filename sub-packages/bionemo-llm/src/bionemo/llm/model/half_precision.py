# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Half-precision weights: which parameters are cast, and the inputs that follow them.

A pre-LN model adds to a residual stream and normalizes copies of it. A post-LN model normalizes the stream itself,
twice a layer: in half precision each norm would round the whole state, and gradients of all layers would differ from
float32's three times as much as under autocast. So its norms and its embedding keep float32, as autocast has it, and
only what enters a matrix product is rounded.
"""

import torch
from torch import Tensor, nn


class KeepsFloat32:
    """Marks modules whose parameters stay float32; what they return is float32 then.

    Attributes:
        keeps_float32: Whether this one does.
    """

    keeps_float32 = True


def parameters_to_cast(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the names and parameters that half precision casts: all but those of :class:`KeepsFloat32` modules."""
    kept = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, KeepsFloat32) and module.keeps_float32
        for parameter in module.parameters()
    }
    return [(name, parameter) for name, parameter in model.named_parameters() if id(parameter) not in kept]


def cast_for_good(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast a model's weights in place, for inference.

    Args:
        model: Its buffers stay as they are.
        dtype: Of half precision.
    """
    for _, parameter in parameters_to_cast(model):
        parameter.data = parameter.data.to(dtype)


def as_weights(states: Tensor, weights: Tensor) -> Tensor:
    """Cast the input of a product to the dtype of its weights, where that has fewer bits."""
    return states.to(weights.dtype) if weights.dtype.itemsize < states.dtype.itemsize else states
