# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Activation recomputation (gradient checkpointing), on either training engine.

Megatron's own way saves every argument of a layer as a tensor, which the table of sequences is not.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_layers(layers: Iterable[nn.Module], granularity: str) -> None:
    """Recompute the activations of an encoder's layers in the backward pass (gradient checkpointing).

    Args:
        layers: Megatron's transformer layers.
        granularity: "none"; "selective": the core attention, whose activations grow with the length; "full": whole
            layers, of which only the input is kept.
    """
    for layer in layers:
        if granularity == "full":
            recompute(layer)
        elif granularity == "selective":
            attention: Any = layer.self_attention
            recompute(attention.core_attention)


def recompute(module: nn.Module) -> None:
    """Keep of a module's forward pass only its inputs, where gradients are wanted."""
    module.forward = partial(_recomputed, module.forward)  # type: ignore[method-assign]


def _recomputed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
