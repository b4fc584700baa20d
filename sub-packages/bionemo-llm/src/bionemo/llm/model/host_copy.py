# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Copies between host and GPU that nobody waits for: the next computation can be issued before they are done."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on a device."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class HostCopy:
    """Tensors on their way to the host.

    Args:
        tensors: Name to tensor on any one device, none with a gradient.

    >>> HostCopy({"mean": torch.tensor([1.0, 2.0])}).arrays()["mean"].tolist()
    [1.0, 2.0]
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._event: torch.cuda.Event | None = None
        self._tensors = dict(tensors)
        if any(x.is_cuda for x in tensors.values()):
            for name, tensor in tensors.items():
                pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                self._tensors[name] = pinned.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return them, once they have arrived."""
        if self._event is not None:
            self._event.synchronize()
        return {name: tensor.numpy() for name, tensor in self._tensors.items()}
