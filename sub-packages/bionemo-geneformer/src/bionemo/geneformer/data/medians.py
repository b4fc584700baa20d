# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Exact medians of every gene over a corpus of any size, in bounded memory.

A gene's median is that of its non-zero counts, each divided by the total of its cell and times 10,000 (Theodoris et
al. 2023). The corpus is read in passes. A pass keeps all values that lie between two bounds of their gene, or, where
they are too many, a uniform sample of them, thinned as it goes. A sample narrows the bounds around the middle ranks;
what lies below them was counted, so that the ranks stay exact. When everything between the bounds fits, it is sorted
and the median read off. Small corpora take one pass, each further one narrows about tenfold or more.

Letters: G genes, K values of a block.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.core.randomness import hash_words


logger = logging.getLogger(__name__)

BYTES_PER_VALUE = 48
"""What a kept value costs: gene, value and hash, and their copies while they are sorted."""


class GeneValues(NamedTuple):
    """Normalized values of some cells."""

    genes: NDArray[np.int32]
    """[K] int32, number of the gene."""

    values: NDArray[np.float64]
    """[K] float64, all above zero."""


class Medians(NamedTuple):
    """Medians of the genes of a corpus."""

    medians: NDArray[np.float64]
    """[G] float64, NaN where a gene has no count."""

    num_cells: NDArray[np.int64]
    """[G] int64, cells in which each gene has a count."""

    num_passes: int
    """How often the corpus was read."""


def find_medians(read: Callable[[], Iterable[GeneValues]], num_genes: int, *, max_values: int) -> Medians:
    """Find the exact median of each gene.

    Args:
        read: Starts a pass over the corpus: the same blocks in the same order each time.
        num_genes: G.
        max_values: Values to keep at once, of all genes together.

    Raises:
        DataError: Two passes read different data.
    """
    search = _Search(num_genes)
    num_passes, last_inside = 0, None
    while not search.is_done.all():
        num_passes += 1
        found = _read_pass(read(), search.low, search.high, max_values, salt=num_passes)
        search.learn(found)
        num_inside = int(found.inside.sum())
        logger.info("pass %d: %d of %d genes are known", num_passes, int(search.is_done.sum()), num_genes)
        if last_inside is not None and num_inside >= last_inside:
            max_values *= 2  # too few to narrow anything
        last_inside = num_inside
    assert search.num_cells is not None
    return Medians(search.medians, search.num_cells, num_passes)


class _Pass(NamedTuple):
    """What a pass found; the kept values are sorted by gene, then by value."""

    total: NDArray[np.int64]
    below: NDArray[np.int64]
    inside: NDArray[np.int64]
    genes: NDArray[np.int32]
    values: NDArray[np.float64]
    is_complete: bool


@dataclass
class _Search:
    """Bounds and results of all genes."""

    num_genes: int
    low: NDArray[np.float64] = field(init=False)
    high: NDArray[np.float64] = field(init=False)
    medians: NDArray[np.float64] = field(init=False)
    is_done: NDArray[np.bool_] = field(init=False)
    num_cells: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        self.low = np.zeros(self.num_genes)
        self.high = np.full(self.num_genes, np.inf)
        # The last bounds that were seen to hold the middle ranks: what to go back to.
        self._safe = self.low.copy(), self.high.copy()
        self.medians = np.full(self.num_genes, np.nan)
        self.is_done = np.zeros(self.num_genes, dtype=bool)

    def learn(self, found: _Pass) -> None:
        """Take over what a pass found: medians, or narrower bounds."""
        if self.num_cells is None:
            self.num_cells = found.total
            self.is_done |= found.total == 0
        if not np.array_equal(self.num_cells, found.total):
            raise DataError("The corpus changed while it was read. Start again.")
        starts = np.searchsorted(found.genes, np.arange(self.num_genes + 1))
        for gene in np.flatnonzero(~self.is_done).tolist():
            kept = found.values[starts[gene] : starts[gene + 1]]
            num_inside, num_below = int(found.inside[gene]), int(found.below[gene])
            # Ranks of the two middle values, counted from the lower bound.
            first = (int(self.num_cells[gene]) - 1) // 2 - num_below
            last = int(self.num_cells[gene]) // 2 - num_below
            if first < 0 or last >= num_inside:
                self.low[gene], self.high[gene] = self._safe[0][gene], self._safe[1][gene]
            elif self.low[gene] == self.high[gene]:
                self._finish(gene, self.low[gene])
            elif found.is_complete:
                self._finish(gene, (kept[first] + kept[last]) / 2)
            else:
                self._narrow(gene, kept, first / num_inside, (last + 1) / num_inside)

    def _finish(self, gene: int, median: float) -> None:
        self.medians[gene] = median
        self.is_done[gene] = True
        self.low[gene], self.high[gene] = np.inf, -np.inf  # nothing lies between them

    def _narrow(self, gene: int, kept: NDArray[np.float64], first_share: float, last_share: float) -> None:
        """Bounds around the middle, six standard deviations of a sample's rank away."""
        self._safe[0][gene], self._safe[1][gene] = self.low[gene], self.high[gene]
        margin = 3 * np.sqrt(len(kept)) + 1
        lower, upper = int(first_share * len(kept) - margin), int(last_share * len(kept) + margin)
        if lower >= 0:
            self.low[gene] = kept[lower]
        if upper < len(kept):
            self.high[gene] = kept[upper]


def _read_pass(
    blocks: Iterable[GeneValues],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    max_values: int,
    *,
    salt: int,
) -> _Pass:
    """Read the corpus once; keep what lies between the bounds, thinned by halves to `max_values`."""
    num_genes = len(low)
    total, below, inside = (np.zeros(num_genes, dtype=np.int64) for _ in range(3))
    kept: list[tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.uint64]]] = []
    num_kept, num_read, halvings = 0, 0, 0
    for genes, values in blocks:
        is_below = values < low[genes]
        is_inside = ~is_below & (values <= high[genes])
        total += np.bincount(genes, minlength=num_genes)
        below += np.bincount(genes[is_below], minlength=num_genes)
        inside += np.bincount(genes[is_inside], minlength=num_genes)
        places = np.flatnonzero(is_inside)
        hashes = hash_words(salt, num_read + places)
        num_read += len(values)
        chosen = hashes <= _limit(halvings)
        kept.append((genes[places[chosen]], values[places[chosen]], hashes[chosen]))
        num_kept += len(kept[-1][0])
        while num_kept > max_values:
            halvings += 1
            kept = [_thin(part, _limit(halvings)) for part in kept]
            num_kept = sum(len(part[0]) for part in kept)
    all_genes = np.concatenate([np.empty(0, np.int32), *(part[0] for part in kept)])
    all_values = np.concatenate([np.empty(0), *(part[1] for part in kept)])
    order = np.lexsort((all_values, all_genes))
    return _Pass(total, below, inside, all_genes[order], all_values[order], is_complete=halvings == 0)


def _limit(halvings: int) -> np.uint64:
    return np.uint64((2**64 - 1) >> halvings)


def _thin(
    part: tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.uint64]], limit: np.uint64
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.uint64]]:
    genes, values, hashes = part
    is_kept = hashes <= limit
    return genes[is_kept], values[is_kept], hashes[is_kept]
