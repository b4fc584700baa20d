# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Models whose weights come from a checkpoint: built without drawing random numbers that would be overwritten."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn


ModuleT = TypeVar("ModuleT", bound=nn.Module)


def build_empty(build: Callable[[], ModuleT]) -> ModuleT:
    """Build a module whose parameters and buffers have memory on the CPU and no meaningful values yet.

    Args:
        build: Builds the module; everything in its state dict is to be loaded afterwards.

    Returns:
        The module, as ``build`` returns it but for the values.

    Example:
        >>> from torch import nn
        >>> build_empty(lambda: nn.Linear(2, 3)).weight.shape
        torch.Size([3, 2])
    """
    with torch.device("meta"):
        module = build()
    on_host: dict[int, torch.Tensor] = {}  # tied parameters stay tied
    for part in module.modules():
        for table in (part._parameters, part._buffers):
            for name, tensor in table.items():
                if tensor is not None and tensor.is_meta:
                    table[name] = on_host.setdefault(id(tensor), _empty_on_host(tensor))  # type: ignore[assignment]
    return module


def _empty_on_host(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="cpu")
    if isinstance(tensor, nn.Parameter):
        parameter = nn.Parameter(empty, requires_grad=tensor.requires_grad)
        parameter.__dict__.update(tensor.__dict__)  # Megatron's marks, such as sequence_parallel
        return parameter
    return empty
