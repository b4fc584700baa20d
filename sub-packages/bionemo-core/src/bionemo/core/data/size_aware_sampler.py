# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Batches cut greedily, in the order given, where the summed size of their samples would pass a limit."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from torch.utils.data import Sampler

from bionemo.core.errors import BionemoError, ConfigError


__all__ = ("SizeAwareBatchSampler", "size_aware_batching")

Data = TypeVar("Data")
Real = int | float
Log = Callable[[str], None]


class SizeofError(BionemoError, RuntimeError):
    """The caller's size function failed."""


class ArgumentTypeError(ConfigError, TypeError):
    """An argument has another type than the one that is needed."""


def size_aware_batching(
    dataset: Iterable[Data],
    sizeof: Callable[[Data], Real],
    max_total_size: Real,
    collate_fn: Callable[[list[Data]], Any] | None = None,
    info_logger: Log | None = None,
    warn_logger: Log | None = None,
) -> Iterator[Any]:
    """Cut a stream of items into batches whose summed size stays within a limit.

    Args:
        dataset: The items, taken in their order.
        sizeof: Size of one item, for example in bytes or tokens.
        max_total_size: Largest sum of a batch's sizes; an item above it is left out with a warning.
        collate_fn: Makes a batch of a list of items; the list itself is given without it.
        info_logger: Told about the batches at the end.
        warn_logger: Told about each item left out.

    Yields:
        The batches.

    Raises:
        TypeError: ``sizeof`` cannot be called.
        RuntimeError: ``sizeof`` fails on an item.
    """
    if not callable(sizeof):
        raise ArgumentTypeError("sizeof must be a callable")
    batch: list[Data] = []
    total: Real = 0
    num_batches = num_items = num_left_out = 0
    for data in dataset:
        try:
            size = sizeof(data)
        except Exception as error:
            raise SizeofError(f"sizeof raises error at data={data}: {error}") from error
        if size > max_total_size:
            num_left_out += 1
            if warn_logger is not None:
                warn_logger(f"Item of size {size} exceeds max_total_size {max_total_size} and is left out: {data}")
            continue
        if batch and total + size > max_total_size:
            yield batch if collate_fn is None else collate_fn(batch)
            num_batches += 1
            batch, total = [], 0
        batch.append(data)
        total += size
        num_items += 1
    if batch:
        yield batch if collate_fn is None else collate_fn(batch)
        num_batches += 1
    if info_logger is not None:
        info_logger(
            f"{num_items} items in {num_batches} batches of a summed size up to {max_total_size}; "
            f"{num_left_out} items left out."
        )


class SizeAwareBatchSampler(Sampler[list[int]]):
    """Batches of the indices that another sampler gives, each within a limit of summed size.

    Args:
        sampler: Gives the indices, in their order.
        sizeof: Size of the sample at an index.
        max_total_size: Largest sum of a batch's sizes; a sample above it is left out with a warning.
        info_logger: Told about the batches at the end of each pass.
        warn_logger: Told about each sample left out.

    Raises:
        TypeError: ``sampler`` is no iterable or is text, or ``sizeof`` cannot be called.
        ValueError: ``max_total_size`` is no number above 0.
    """

    def __init__(
        self,
        sampler: Sampler[int] | Iterable[int],
        sizeof: Callable[[int], Real],
        max_total_size: Real,
        info_logger: Log | None = None,
        warn_logger: Log | None = None,
    ) -> None:
        if isinstance(sampler, str) or not isinstance(sampler, (Sampler, Iterable)):
            raise ArgumentTypeError(
                "sampler should be an instance of torch.utils.data.Sampler or Iterable, "
                f"but got sampler={sampler} of type {type(sampler)}"
            )
        if not callable(sizeof):
            raise ArgumentTypeError("sizeof must be a callable")
        if not isinstance(max_total_size, (int, float)) or isinstance(max_total_size, bool):
            raise ConfigError(f"max_total_size should be int or float but got {type(max_total_size)}")
        if not max_total_size > 0:
            raise ConfigError(f"max_total_size should be above 0 but got {max_total_size}")
        self.sampler = sampler
        self.sizeof = sizeof
        self.max_total_size = max_total_size
        self.info_logger = info_logger
        self.warn_logger = warn_logger

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of one pass."""
        return size_aware_batching(
            self.sampler, self.sizeof, self.max_total_size, None, self.info_logger, self.warn_logger
        )
