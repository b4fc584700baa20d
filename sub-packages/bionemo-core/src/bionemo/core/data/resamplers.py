# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Sampling with replacement."""

import random
from typing import TypeVar

from torch.utils.data import Dataset

from bionemo.core.data.multi_epoch_dataset import SizedDataset
from bionemo.core.errors import DataError


__all__ = ("PRNGResampleDataset",)

T_co = TypeVar("T_co", covariant=True)


class PRNGResampleDataset(Dataset[T_co]):
    """A dataset whose item i is a random item of another, drawn with replacement.

    Item i is ``dataset[r_i]``; r_0, r_1, ... are successive ``random.Random(seed).randint(0, len(dataset) - 1)``.
    Only the generator is kept: reading forward, also with gaps, moves it on; reading backward starts it again from the
    seed, which takes time in proportion to the index.

    Args:
        dataset: Where items come from.
        seed: Seed of the draws.
        num_samples: Number of items; that of the dataset unless given.

    Raises:
        DataError: The dataset is empty and items are asked for.
    """

    _rng: random.Random
    _last_index: int
    _last_drawn: int

    def __init__(self, dataset: SizedDataset[T_co], seed: int = 42, num_samples: int | None = None) -> None:
        self.dataset = dataset
        self.seed = seed
        self.num_samples = len(dataset) if num_samples is None else num_samples
        if self.num_samples > 0 and len(dataset) == 0:
            raise DataError(f"num_samples: {self.num_samples} asked for, but the dataset is empty.")
        self._restart()

    def rand_idx(self) -> int:
        """Draw the next index into the dataset."""
        return self._rng.randint(0, len(self.dataset) - 1)

    def advance_state(self, num_to_advance: int) -> None:
        """Make and forget that many draws."""
        for _ in range(num_to_advance):
            self.rand_idx()

    def __getitem__(self, index: int) -> T_co:
        """Item at a position; IndexError outside of the dataset, for negative positions too."""
        if not 0 <= index < len(self):
            raise IndexError(f"Index {index} out of bounds for dataset of length {len(self)}.")
        if index < self._last_index:
            self._restart()
        if index > self._last_index:
            self.advance_state(index - self._last_index - 1)
            self._last_drawn = self.rand_idx()
            self._last_index = index
        return self.dataset[self._last_drawn]

    def __len__(self) -> int:
        """Number of items."""
        return self.num_samples

    def _restart(self) -> None:
        self._rng = random.Random(self.seed)
        self._last_index = -1
        self._last_drawn = -1
