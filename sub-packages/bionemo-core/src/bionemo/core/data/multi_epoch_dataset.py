# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Several epochs of a dataset as one long dataset, each epoch in its own order.

A dataset that draws something anew in each epoch (a crop, a mask) is asked for ``EpochIndex(epoch, idx)`` and answers
with a pure function of it. The resampler turns positions of a run into such indices without storing any order.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from bionemo.core.data.permute import permute, permute_grouped
from bionemo.core.errors import ConfigError, DataError
from bionemo.core.randomness import Stream, hash_words, hashed_seed


__all__ = (
    "EpochIndex",
    "IdentityMultiEpochDatasetWrapper",
    "MultiEpochDataset",
    "MultiEpochDatasetResampler",
    "MultiEpochDatasetWrapper",
    "SizedDataset",
)

T_co = TypeVar("T_co", covariant=True)
U_co = TypeVar("U_co", covariant=True)


class EpochIndex(NamedTuple):
    """Which sample, and in which epoch."""

    epoch: int
    idx: int


class SizedDataset(Protocol[T_co]):
    """Samples by number."""

    def __getitem__(self, index: int) -> T_co:
        """Sample of that number."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...


class MultiEpochDataset(Protocol[T_co]):
    """Samples by number and epoch; each a pure function of the two."""

    def __getitem__(self, index: EpochIndex) -> T_co:
        """Sample of that number in that epoch."""
        ...

    def __len__(self) -> int:
        """Number of samples in one epoch."""
        ...


@dataclass
class MultiEpochDatasetResampler(Dataset[T_co]):
    """Several epochs of a dataset, one after the other, each in an order of its own; needs no memory for the orders.

    The order of an epoch is a pure function of (seed, epoch, number of samples).

    Attributes:
        dataset: The samples of one epoch.
        num_epochs: How often to go through it; one epoch where ``num_samples`` is not given either.
        num_samples: How many samples to give in all; the last epoch is cut off.
        shuffle: Whether each epoch has its own order; else that of the dataset.
        seed: Seed of the orders, in [0, 2**63).

    Raises:
        ConfigError: Both counts are given, there is less than one epoch, or the seed is out of its range.
        DataError: Samples are asked for and the dataset has none.
    """

    dataset: MultiEpochDataset[T_co]
    num_epochs: int | None = None
    num_samples: int | None = None
    shuffle: bool = True
    seed: int = 42
    _length: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.num_epochs is not None and self.num_samples is not None:
            raise ConfigError("Only one of num_epochs and num_samples should be provided.")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed: expected a number from 0 to 2**63 - 1, got {self.seed}.")
        self._length = len(self.dataset)
        if self.num_samples is not None:
            if self._length == 0:
                raise DataError(f"num_samples: {self.num_samples} asked for, but the dataset is empty.")
            self.num_epochs = -(-self.num_samples // self._length)
        elif self.num_epochs is None:
            self.num_epochs = 1
        if self.num_epochs < 1:
            raise ConfigError("num_epochs must be at least 1.")
        if self.num_samples is None:
            self.num_samples = self._length * self.num_epochs

    def __getitem__(self, index: int) -> T_co:
        """Sample at a position of the run; IndexError outside of it."""
        if not 0 <= index < len(self):
            raise IndexError(f"Index {index} out of bounds for dataset of length {len(self)}.")
        epoch, idx = divmod(int(index), self._length)
        if self.shuffle:
            idx = permute(idx, self._length, hashed_seed(self.seed, Stream.SHUFFLE, epoch))
        return self.dataset[EpochIndex(epoch, idx)]

    def __len__(self) -> int:
        """Samples in all epochs together."""
        assert self.num_samples is not None
        return self.num_samples

    def indices(self, start: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Epoch and sample number of many positions at once, the same as one by one.

        Args:
            start: First position.
            stop: End, exclusive.

        Returns:
            Two int64 arrays [stop - start].

        Raises:
            IndexError: The range leaves the dataset.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"Range {start}:{stop} out of bounds for dataset of length {len(self)}.")
        epochs, idxs = np.divmod(np.arange(start, stop, dtype=np.int64), max(self._length, 1))
        if self.shuffle and len(epochs):
            first = int(epochs[0])
            distinct = np.arange(first, int(epochs[-1]) + 1, dtype=np.uint64)
            seeds = hash_words(self.seed, int(Stream.SHUFFLE), distinct, 0)
            group = epochs - first if len(seeds) > 1 else np.zeros(1, dtype=np.int64)
            idxs = permute_grouped(idxs, self._length, seeds, group)
        return epochs, idxs


@dataclass
class MultiEpochDatasetWrapper(Dataset[U_co], Generic[T_co, U_co], ABC):
    """Provide a dataset of samples by number an epoch, for what is drawn anew in each."""

    dataset: SizedDataset[T_co]

    @abstractmethod
    def apply_transform(self, sample: Any, index: EpochIndex) -> U_co:
        """Make the sample of one epoch; a pure function of its arguments."""
        raise NotImplementedError

    def __getitem__(self, index: EpochIndex) -> U_co:
        """Transformed sample of that number in that epoch."""
        return self.apply_transform(self.dataset[index.idx], index)

    def __len__(self) -> int:
        """Number of samples in one epoch."""
        return len(self.dataset)


class IdentityMultiEpochDatasetWrapper(MultiEpochDatasetWrapper[T_co, T_co]):
    """The same samples in every epoch."""

    def apply_transform(self, sample: Any, index: EpochIndex) -> T_co:
        """Return the sample unchanged."""
        del index
        unchanged: T_co = sample
        return unchanged
