# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Shuffling that reads the disk in blocks: random enough for training, fast where the data do not fit into memory."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo.core.errors import ConfigError
from bionemo.core.randomness import Stream, rng_for
from bionemo.scdl.sampling.batch_sampler import GlobalBatchSampler, num_batches


if TYPE_CHECKING:
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


class BlockShuffleSampler(GlobalBatchSampler):
    """Visits every row once an epoch: blocks of rows in random order, and the rows of a pool of blocks shuffled.

    The pool bounds what must be in memory at a time: while the batches of one pool are handed out, the system reads
    the blocks of the next into its page cache, each block in one stretch.
    """

    def __init__(
        self,
        dataset: "SingleCellMemMapDataset | int",
        *,
        batch_size: int,
        block_size: int = 64,
        pool_size: int = 8_192,
        drop_last: bool = False,
        **options: Any,
    ) -> None:
        """Plan over all rows of a dataset.

        Args:
            dataset: The archive, whose blocks are then read ahead; or a number of rows.
            batch_size: Rows per batch and rank.
            block_size: Neighboring rows read together.
            pool_size: Rows shuffled among each other; a multiple of ``block_size``.
            drop_last: Whether to leave out an incomplete last batch.
            **options: ``seed``, ``rank``, ``world_size``, ``drop_uneven``, ``endless`` of the base class.
        """
        super().__init__(batch_size=batch_size, **options)
        if block_size < 1 or pool_size < block_size or pool_size % block_size:
            raise ConfigError(
                f"pool_size is {pool_size} and block_size {block_size}; the pool must be a multiple of the block."
            )
        self.dataset = None if isinstance(dataset, int) else dataset
        self.num_rows = dataset if isinstance(dataset, int) else len(dataset)
        self.block_size, self.pool_size, self.drop_last = block_size, pool_size, drop_last
        self._num_blocks = -(-self.num_rows // block_size)
        self._block_order: tuple[int, np.ndarray] | None = None
        self._pools: dict[tuple[int, int], np.ndarray] = {}
        self._read_ahead: tuple[int, int] = (-1, 0)

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in the schedule of an epoch, of all ranks together."""
        return num_batches(self.num_rows, self.batch_size, drop_last=self.drop_last)

    def global_batch(self, epoch: int, position: int) -> np.ndarray:
        """Row numbers of one batch of the schedule, int64."""
        start = position * self.batch_size
        stop = min(start + self.batch_size, self.num_rows)
        parts = []
        while start < stop:
            pool = self._pool_of(epoch, start)
            first, last = self._pool_start(epoch, pool), self._pool_start(epoch, pool + 1)
            parts.append(self._pool_rows(epoch, pool)[start - first : min(stop, last) - first])
            start = min(stop, last)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _blocks(self, epoch: int) -> np.ndarray:
        """The blocks in this epoch's order."""
        if self._block_order is None or self._block_order[0] != epoch:
            order = rng_for(self.seed, Stream.SHUFFLE, epoch=epoch, index=0).permutation(self._num_blocks)
            self._block_order = (epoch, order)
        return self._block_order[1]

    def _pool_start(self, epoch: int, pool: int) -> int:
        """Rows of the epoch that come before a pool; only the archive's last block may be shorter than the others."""
        blocks_before = min(pool * self.pool_size // self.block_size, self._num_blocks)
        missing = self._num_blocks * self.block_size - self.num_rows
        is_short_before = bool(missing) and int(np.argmax(self._blocks(epoch))) < blocks_before
        return blocks_before * self.block_size - missing * is_short_before

    def _pool_of(self, epoch: int, offset: int) -> int:
        """The pool that holds the row at an offset of the epoch's order."""
        pool = offset // self.pool_size
        return pool + (self._pool_start(epoch, pool + 1) <= offset)

    def _pool_rows(self, epoch: int, pool: int) -> np.ndarray:
        """Row numbers of a pool, shuffled."""
        if (epoch, pool) not in self._pools:
            per_pool = self.pool_size // self.block_size
            blocks = self._blocks(epoch)[pool * per_pool : (pool + 1) * per_pool]
            rows = (blocks[:, None] * self.block_size + np.arange(self.block_size)).ravel()
            rows = rows[rows < self.num_rows]
            rng = rng_for(self.seed, Stream.SHUFFLE, epoch=epoch, index=pool + 1)
            if len(self._pools) >= 2:
                del self._pools[next(iter(self._pools))]
            self._pools[epoch, pool] = rng.permutation(rows)
        return self._pools[epoch, pool]

    def before_batch(self, epoch: int, position: int) -> None:
        """Read ahead: the current pool, and as much of the next as of the current is used up."""
        if self.dataset is None:
            return
        blocks = self._blocks(epoch)
        end = min((position + 1) * self.batch_size, self.num_rows) - 1
        pool = self._pool_of(epoch, end)
        used = end + 1 - self._pool_start(epoch, pool)
        per_pool = self.pool_size // self.block_size
        wanted = min((pool + 1) * per_pool + -(-used // self.block_size), self._num_blocks)
        last_epoch, advised = self._read_ahead
        advised = advised if last_epoch == epoch else 0
        # After a resume in the middle of an epoch, earlier pools are not needed.
        for block in blocks[max(advised, pool * per_pool) : wanted].tolist():
            start = block * self.block_size
            self.dataset.prefetch_rows(start, min(start + self.block_size, self.num_rows))
        self._read_ahead = (epoch, max(advised, wanted))
