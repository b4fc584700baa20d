# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters (Hu et al. 2022): small trainable products on top of frozen matrices.

An adapter is a parametrization of the layer's own weight, so the model's code does not change, and merging is exact:
the sum that was used becomes the weight.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bionemo.core.errors import ConfigError
from bionemo.llm.checkpoints.hf_tensors import QKV, fuse_qkv, split_qkv
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors


LORA_TARGETS = ("linear_qkv", "linear_proj", "linear_fc1", "linear_fc2")
"""Megatron's names of a transformer layer's matrices."""
ORIGINAL_WEIGHT = ".parametrizations.weight.original"
"""Ending of an adapted matrix in a state dict."""


class LowRankUpdate(nn.Module):
    """Adds ``alpha / rank · up · down`` to a weight; ``up`` starts at zero, so that nothing changes at first.

    Args:
        weight: [out, in], what it is added to.
        rank: Inner dimension.
        alpha: Scale.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        place: dict[str, Any] = {"dtype": weight.dtype, "device": weight.device}
        self.down = nn.Parameter(torch.empty(rank, weight.shape[1], **place))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank, **place))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted weight."""
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)


class SeparateQKVUpdate(nn.Module):
    """Adds an update of its own to the query, key and value rows of Megatron's fused projection.

    Three adapters of rank r are what other tools put on three separate layers; one adapter of rank r on the fused
    matrix would share ``down`` among them and could not be exported.

    Args:
        weight: [3 H, H], head by head its query, key and value rows.
        rank: Inner dimension of each.
        alpha: Scale.
        num_attention_heads: Heads.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float, num_attention_heads: int) -> None:
        super().__init__()
        self.num_attention_heads = num_attention_heads
        rows = weight.shape[0] // len(QKV)
        self.parts = nn.ModuleDict({part: LowRankUpdate(weight[:rows], rank, alpha) for part in QKV})

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted weight."""
        parts = split_qkv(weight, self.num_attention_heads)
        return fuse_qkv((self.parts[part](tensor) for part, tensor in parts.items()), self.num_attention_heads)


def add_lora(
    model: nn.Module,
    *,
    rank: int,
    alpha: float | None = None,
    targets: Sequence[str] = LORA_TARGETS,
    separate_qkv_heads: int | None = None,
) -> nn.Module:
    """Freeze a model and put adapters on its linear layers.

    Args:
        model: Changed in place.
        rank: Inner dimension of the adapters.
        alpha: Scale; default: the rank, so that the product is added as it is.
        targets: Last part of the names of the layers that get one.
        separate_qkv_heads: Number of attention heads: query, key and value of ``linear_qkv`` get an adapter each;
            None: one for all three.

    Returns:
        The model.

    Raises:
        ConfigError: The rank is below 1, or no layer has one of the names.
    """
    if rank < 1:
        raise ConfigError(f"LoRA rank {rank}: must be at least 1.")
    layers = [(name, module) for name, module in model.named_modules() if name.rpartition(".")[2] in targets]
    if not layers:
        raise ConfigError(f"LoRA targets {', '.join(targets)}: the model has no such layer.")
    model.requires_grad_(False)
    scale = rank if alpha is None else alpha
    for name, layer in layers:
        update: nn.Module
        if separate_qkv_heads is not None and name.endswith("linear_qkv"):
            update = SeparateQKVUpdate(layer.weight, rank, scale, separate_qkv_heads)
        else:
            update = LowRankUpdate(layer.weight, rank, scale)
        parametrize.register_parametrization(layer, "weight", update)
    return model


def is_adapter(name: str) -> bool:
    """Return whether a name of a state dict is that of an adapter's parameter."""
    return ".parametrizations.weight.0." in name


def with_adapted_names(state: Mapping[str, Tensor], model: nn.Module) -> LazyTensors:
    """Rename the state dict of a plain model to the names in the same model with adapters.

    Args:
        state: The state dict.
        model: After `add_lora`.

    Returns:
        The same tensors; the adapters' own are not among them.
    """
    own = {name for name, _ in model.named_parameters()}

    def adapted(name: str) -> str:
        found = name.removesuffix(".weight") + ORIGINAL_WEIGHT
        return found if found in own else name

    return LazyTensors({adapted(name): tensor for name, tensor in LazyTensors.of(state).entries.items()})


def merge_lora(model: nn.Module) -> nn.Module:
    """Make the adapted weights the model's own, in place: afterwards it has its old parameters and no adapters."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return model
