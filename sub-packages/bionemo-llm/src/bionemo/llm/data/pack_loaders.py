# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""From a packed data set to a loader whose samples are the packed batches of the global pack schedule."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from bionemo.core.data.size_aware_batching import PlanPosition, TokenBudgetBatchSampler
from bionemo.core.errors import ConfigError
from bionemo.llm.data.packed_dataset import PackedDataset
from bionemo.llm.data.worker_signals import StopSafeLoader, ignore_stop_signals


def as_is(batch: Any) -> Any:
    """Leave a batch as the data set made it."""
    return batch


@dataclass(frozen=True, kw_only=True)
class PackLoading:
    """How packed batches are made and shared among ranks.

    Attributes:
        tokens_per_batch: Token budget of a pack; None for packs of a number of sequences.
        sequences_per_batch: That number.
        seed: Seed of the order.
        rank: Own place among the data-parallel ranks.
        world_size: Data-parallel ranks.
        pin_memory: Whether batches lie in memory that a GPU copies from without waiting.
        collate: What is done to a batch last, in the process that made it.
        ignore_stop_signals: Whether loader processes ignore SIGINT and SIGTERM, which the training process handles.
        persistent_workers: Whether loader processes outlive a pass over the data.

    Raises:
        ConfigError: Neither size is given.
    """

    tokens_per_batch: int | None
    sequences_per_batch: int | None = None
    seed: int
    rank: int = 0
    world_size: int = 1
    pin_memory: bool = False
    collate: Callable[[Any], Any] = as_is
    ignore_stop_signals: bool = False
    persistent_workers: bool = True

    def __post_init__(self) -> None:
        """Check that packed batches have a size."""
        if self.tokens_per_batch is None and self.sequences_per_batch is None:
            raise ConfigError("a pack needs a size: give tokens_per_batch or sequences_per_batch.")


def build_pack_sampler(
    dataset: PackedDataset, loading: PackLoading, *, position: PlanPosition, epochs: int | None
) -> TokenBudgetBatchSampler:
    """Schedule packed batches of a data set: endless and shuffled without `epochs`, else so many passes in order."""
    lengths: Any = dataset.token_lengths
    budget = loading.tokens_per_batch
    if budget is None:  # every sequence counts one, a pack is a fixed number of them
        lengths, budget = sequence_counts, loading.sequences_per_batch
    assert budget is not None
    return TokenBudgetBatchSampler(
        lengths,
        budget,
        num_samples=len(dataset),
        seed=loading.seed,
        shuffle=epochs is None,
        num_epochs=epochs,
        rank=loading.rank,
        world_size=loading.world_size,
        position=position,
    )


def build_pack_loader(
    dataset: PackedDataset,
    loading: PackLoading,
    *,
    position: PlanPosition = PlanPosition(0, 0),  # noqa: B008 an immutable pair of numbers
    epochs: int | None = None,
    num_workers: int = 0,
) -> DataLoader[Any]:
    """Build the loader of a data set.

    Args:
        dataset: Gives a batch for each packed batch.
        loading: How packs are made.
        position: Where in the pack schedule to begin.
        epochs: Passes over the data in order, or None for an endless shuffled schedule.
        num_workers: Processes that prepare batches.
    """
    loader_class: type[DataLoader[Any]] = StopSafeLoader if loading.ignore_stop_signals else DataLoader
    return loader_class(
        dataset,
        batch_size=None,
        sampler=build_pack_sampler(dataset, loading, position=position, epochs=epochs),
        num_workers=num_workers,
        collate_fn=loading.collate,
        worker_init_fn=ignore_stop_signals if loading.ignore_stop_signals else None,
        pin_memory=loading.pin_memory,
        persistent_workers=loading.persistent_workers and num_workers > 0,
    )


def sequence_counts(epoch: int, idxs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count every sequence as one."""
    return np.ones(len(idxs), dtype=np.int64)
