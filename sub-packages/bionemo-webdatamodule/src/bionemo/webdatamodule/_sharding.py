# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which samples of which shards one loader worker of one rank reads in one epoch.

The shards of an epoch, in their (possibly permuted) order, are one long row of samples. Each rank takes one contiguous
range of it and each worker one contiguous part of that: at most the first and last shard of a part are read partly.
All ranks get ranges of equal length, so all of them see the same number of batches whatever the batching is.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bionemo.core.errors import ConfigError


class Stream(enum.IntEnum):
    """What a random choice is about: the second entry of its key."""

    SHARD_ORDER = 1
    SAMPLE_ORDER = 2


Remainder = Literal["pad", "drop", "uneven"]


@dataclass(frozen=True)
class Piece:
    """Samples ``start`` to ``stop - 1`` of the shard at position ``shard`` of the unpermuted list."""

    shard: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One worker of one rank.

    Attributes:
        rank: Data-parallel rank.
        world_size: Number of data-parallel ranks.
        worker: Worker of that rank, 0 when the main process reads.
        num_workers: Workers per rank, at least 1.
    """

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    num_workers: int = 1


def rank_range(num_samples: int, rank: int, world_size: int, remainder: Remainder) -> tuple[int, int]:
    """Return the range of one rank in the row of all samples; with "pad" it may reach beyond the end and wraps around.

    Args:
        num_samples: Samples of the whole epoch.
        rank: Data-parallel rank.
        world_size: Number of ranks.
        remainder: What to do when ``num_samples`` is no multiple of ``world_size``: "pad" repeats up to
            ``world_size - 1`` samples from the start of the row, "drop" leaves as many out at its end, "uneven" gives
            some ranks one sample more than others.
    """
    if remainder == "uneven":
        return rank * num_samples // world_size, (rank + 1) * num_samples // world_size
    length = num_samples // world_size if remainder == "drop" else -(-num_samples // world_size)
    return rank * length, (rank + 1) * length


def shard_order(num_shards: int, *, seed: int, epoch: int, turn: int) -> np.ndarray:
    """Permute the shards: [num_shards] int64, the same on every rank and worker."""
    key = [seed, Stream.SHARD_ORDER, epoch, turn]
    return np.random.default_rng(key).permutation(num_shards)


def plan(counts: Sequence[int], order: Sequence[int], reader: Reader, remainder: Remainder) -> list[Piece]:
    """List what one worker reads.

    Args:
        counts: Samples of each shard.
        order: The epoch's order of the shards, a permutation of their positions.
        reader: Whose part is asked for.
        remainder: See :func:`rank_range`.

    Returns:
        Ranges of shards in reading order. Workers beyond the number of shards get none, as in webdataset.

    Raises:
        ConfigError: There are fewer samples than ranks and the rest is to be dropped.
    """
    total = sum(counts)
    if remainder == "drop" and 0 < total < reader.world_size:
        raise ConfigError(
            f"remainder='drop' with {total} samples and {reader.world_size} ranks leaves nothing. Use remainder='pad'."
        )
    num_active = min(reader.num_workers, len(counts))
    if total == 0 or reader.worker >= num_active:
        return []
    first, last = rank_range(total, reader.rank, reader.world_size, remainder)
    begin = first + (last - first) * reader.worker // num_active
    end = first + (last - first) * (reader.worker + 1) // num_active
    pieces = []
    starts = np.concatenate(([0], np.cumsum([counts[shard] for shard in order])))
    while begin < end:
        offset = begin % total
        place = int(np.searchsorted(starts, offset, side="right")) - 1
        start = int(offset - starts[place])
        stop = min(counts[order[place]], start + end - begin)
        pieces.append(Piece(int(order[place]), start, stop))
        begin += stop - start
    return pieces
