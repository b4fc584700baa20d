# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors that are read when they are asked for: names and shapes are checked first, memory holds one at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor


class LazyTensor(NamedTuple):
    """One tensor that is not in memory yet.

    Attributes:
        shape: Its shape, known without reading it.
        read: Reads or computes it; every call does so again.
        read_rows: Reads the rows from the first to before the second number, where that costs less than all of them.
    """

    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    read_rows: Callable[[int, int], Tensor] | None = None


class LazyTensors(Mapping[str, Tensor]):
    """A state dict whose tensors are read on access and not kept.

    Args:
        entries: Name to tensor.

    Example:
        >>> import torch
        >>> state = LazyTensors.of({"weight": torch.ones(2, 3)})
        >>> state.shape("weight")
        (2, 3)
    """

    def __init__(self, entries: Mapping[str, LazyTensor]) -> None:
        self.entries = dict(entries)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "LazyTensors":
        """Wrap tensors that are in memory; lazy ones stay as they are."""
        if isinstance(tensors, LazyTensors):
            return tensors
        return cls({name: in_memory(tensor) for name, tensor in tensors.items()})

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without reading it."""
        return self.entries[name].shape

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Return the rows of a tensor from ``start`` to before ``stop``."""
        entry = self.entries[name]
        return entry.read()[start:stop] if entry.read_rows is None else entry.read_rows(start, stop)

    def select(self, names: Iterable[str]) -> "LazyTensors":
        """Return the tensors of these names."""
        return LazyTensors({name: self.entries[name] for name in names})

    def __getitem__(self, name: str) -> Tensor:
        return self.entries[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __or__(self, other: Mapping[str, Tensor]) -> "LazyTensors":
        return LazyTensors(self.entries | LazyTensors.of(other).entries)


def in_memory(tensor: Tensor) -> LazyTensor:
    """Wrap a tensor that is in memory."""
    return LazyTensor(tuple(tensor.shape), lambda: tensor)
