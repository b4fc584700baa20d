# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of row numbers by a global schedule that every rank can compute and that any number of ranks can continue.

The schedule of an epoch is a list of batches, a pure function of (seed, epoch). Rank r of W takes every W-th of them.
The whole state is therefore two integers, the epoch and the global position in it, and does not depend on W.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from bionemo.core.errors import ConfigError


class GlobalBatchSampler(ABC):
    """Base of the samplers: hands out this rank's share of the schedule, from a position on.

    Give it to ``DataLoader(dataset, batch_sampler=...)`` or to :class:`~.prefetch_loader.PrefetchLoader`. One pass of
    ``iter`` is one epoch, or what is left of it; the next pass is the next epoch.
    """

    def __init__(
        self,
        *,
        batch_size: int,
        seed: int = 42,
        rank: int = 0,
        world_size: int = 1,
        drop_uneven: bool = True,
        endless: bool = False,
    ) -> None:
        """Set up a rank's share.

        Args:
            batch_size: Rows per batch and rank.
            seed: Of the schedule, in [0, 2**32).
            rank: Of this process, in [0, world_size).
            world_size: Number of processes that share the schedule.
            drop_uneven: Whether to leave out the last ``batches % world_size`` batches of an epoch, so that every rank
                gets equally many. Switched off, some ranks get one more.
            endless: Whether to go on into the next epochs without end; then no batch is left out.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1.")
        if not 0 <= rank < world_size:
            raise ConfigError(f"rank is {rank}; it must be at least 0 and below world_size, {world_size}.")
        self.batch_size, self.seed, self.rank, self.world_size = batch_size, seed, rank, world_size
        self.drop_uneven, self.endless = drop_uneven, endless
        self.epoch, self.position = 0, 0
        self._end_of_last_pass = (0, 0)

    @property
    @abstractmethod
    def batches_per_epoch(self) -> int:
        """Number of batches in the schedule of an epoch, of all ranks together."""

    @abstractmethod
    def global_batch(self, epoch: int, position: int) -> np.ndarray:
        """Row numbers of one batch of the schedule, int64; the same on every rank."""

    def before_batch(self, epoch: int, position: int) -> None:  # noqa: B027  # most samplers do not read ahead
        """Called when a batch is about to be handed out; samplers that read ahead start doing so here."""

    def __len__(self) -> int:
        """Number of batches that this rank gets in a whole epoch."""
        whole, rest = divmod(self.batches_per_epoch, self.world_size)
        return whole + (not self.drop_uneven and self.rank < rest)

    def __iter__(self) -> Iterator[list[int]]:
        num_batches = self.batches_per_epoch
        if num_batches == 0:
            return
        while self.endless or self.position < self._end():
            epoch, position = self.epoch, self.position + self.rank
            if self.endless:
                further, position = divmod(position, num_batches)
                epoch += further
                further, self.position = divmod(self.position + self.world_size, num_batches)
                self.epoch += further
            else:
                self.position += self.world_size
                if position >= num_batches:  # an uneven last step that this rank has no part in
                    break
            self.before_batch(epoch, position)
            yield self.global_batch(epoch, position).tolist()
        self._end_of_last_pass = (self.epoch, self.position)
        self.epoch, self.position = self.epoch + 1, 0

    def _end(self) -> int:
        uneven = self.batches_per_epoch % self.world_size
        return self.batches_per_epoch - (uneven if self.drop_uneven else 0)

    def set_epoch(self, epoch: int) -> None:
        """Start at an epoch; staying in the current one keeps the position."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def state_dict(self, *, ahead: int = 0) -> dict[str, int]:
        """Return where the schedule is to be continued, on this or any other number of ranks.

        Args:
            ahead: Batches that a loader has taken from this sampler but not yet handed to the training loop. 0
                without worker processes; :class:`PrefetchLoader` counts them itself.
        """
        epoch, position = self.epoch, self.position
        if ahead and position == 0 and not self.endless:
            epoch, position = self._end_of_last_pass
        position -= ahead * self.world_size
        if position < 0:
            epochs_back = -(position // self.batches_per_epoch)
            epoch, position = epoch - epochs_back, position + epochs_back * self.batches_per_epoch
        return {"epoch": epoch, "position": position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        epoch, position = int(state["epoch"]), int(state["position"])
        if epoch < 0 or not 0 <= position <= self.batches_per_epoch + self.world_size:
            raise ConfigError(
                f"Sampler state epoch {epoch}, position {position}: an epoch has {self.batches_per_epoch} batches. "
                "Was it saved with another batch size or archive?"
            )
        self.epoch, self.position = epoch, position


def num_batches(num_rows: int, batch_size: int, *, drop_last: bool) -> int:
    """Batches that some rows make; the last may be smaller unless ``drop_last``."""
    return num_rows // batch_size if drop_last else -(-num_rows // batch_size)
