# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The endless global schedule of packed batches (packs) that a run trains on.

The permuted order of an epoch is cut into windows, each window is packed on its own, and the packs of all windows and
epochs form one list. A place in it is two integers, (window counted from the start of the run, pack within it). With W
ranks, rank r takes packs r, r + W, r + 2W, ... from the current place: nothing is dropped or repeated when a run is
resumed from its place with another number of ranks.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from bionemo.core.data.bin_packing import pack_best_fit
from bionemo.core.data.permute import permute
from bionemo.core.errors import CheckpointError, ConfigError, DataError
from bionemo.core.randomness import Stream, hashed_seed


LengthsOf = Callable[[int, npt.NDArray[np.int64]], npt.NDArray[np.int64]]

_PLANS_KEPT = 3


class PlanPosition(NamedTuple):
    """A place in the global schedule: the window, counted from the start of the run across epochs, and its pack."""

    window: int
    pack: int


class Pack(NamedTuple):
    """What one rank computes in one step.

    Attributes:
        epoch: Epoch of the window, from 0.
        idxs: [B] int64, sample indices; empty for a pack that only fills up the last step of a finite schedule.
        next_position: Where the schedule continues once this step's packs of all ranks are used; equal on all ranks.
    """

    epoch: int
    idxs: npt.NDArray[np.int64]
    next_position: PlanPosition


class TokenBudgetBatchSampler(Sampler[Pack]):
    """Yields this rank's packs of the schedule, from ``position`` on; every iteration starts at ``position`` again.

    A window's schedule is a pure function of (seed, epoch, window) and the lengths. Nothing proportional to the data
    is stored beyond the last few windows. Reading ahead does not move ``position``: the trainer sets it, with
    :meth:`load_state_dict` or directly, to the ``next_position`` of the pack it has finished.

    Args:
        lengths: [N] integer array, tokens of each sample; or a function of (epoch, [n] int64 sample indices) that
            returns [n] int64, where lengths change between epochs.
        max_tokens: Budget of a pack in tokens.
        num_samples: N; needed where ``lengths`` is a function.
        seed: Seed of the order, in [0, 2**63).
        shuffle: Whether samples and packs come in a hashed order, new in every epoch; else in that of the data.
        num_epochs: Length of the schedule; endless unless given. At the end of a finite schedule ranks that have
            no pack left get an empty one, so that all yield the same number.
        window_size: Samples packed together; the last window of an epoch has what remains.
        max_sequences: Most sequences in a pack; no limit unless given.
        rank: This process among those that share the schedule.
        world_size: How many share it.
        position: Where to start.

    Raises:
        ConfigError: An argument is out of its range.
        DataError: There are no samples; when planning: a sample has no tokens or more than the budget.
    """

    def __init__(
        self,
        lengths: npt.NDArray[np.integer[Any]] | LengthsOf,
        max_tokens: int,
        *,
        num_samples: int | None = None,
        seed: int = 42,
        shuffle: bool = True,
        num_epochs: int | None = None,
        window_size: int = 65_536,
        max_sequences: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        position: PlanPosition = PlanPosition(0, 0),  # noqa: B008 an immutable pair of zeros
    ) -> None:
        if not callable(lengths):
            lengths = np.asarray(lengths)
            if num_samples not in (None, len(lengths)):
                raise ConfigError(f"num_samples: {num_samples} given, but there are {len(lengths)} lengths.")
            num_samples = len(lengths)
        elif num_samples is None:
            raise ConfigError("num_samples: needed where lengths is a function.")
        if num_samples < 1:
            raise DataError("There are no samples to pack.")
        for name, value in (
            ("max_tokens", max_tokens),
            ("num_epochs", num_epochs),
            ("window_size", window_size),
            ("max_sequences", max_sequences),
            ("world_size", world_size),
        ):
            if value is not None and value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}.")
        if not 0 <= rank < world_size:
            raise ConfigError(f"rank: expected a number from 0 to {world_size - 1}, got {rank}.")
        if not 0 <= seed < 2**63:
            raise ConfigError(f"--seed: expected a number from 0 to 2**63 - 1, got {seed}.")
        self.lengths = lengths
        self.max_tokens = max_tokens
        self.num_samples = num_samples
        self.seed = seed
        self.shuffle = shuffle
        self.num_epochs = num_epochs
        self.window_size = window_size
        self.max_sequences = max_sequences
        self.rank = rank
        self.world_size = world_size
        self.position = PlanPosition(*position)
        self._plans: OrderedDict[int, list[npt.NDArray[np.int64]]] = OrderedDict()
        self._num_packs: int | None = None

    @property
    def num_windows_per_epoch(self) -> int:
        """Windows in an epoch."""
        return -(-self.num_samples // self.window_size)

    @property
    def num_windows(self) -> int | None:
        """Windows in the whole schedule, None where it is endless."""
        return None if self.num_epochs is None else self.num_epochs * self.num_windows_per_epoch

    @property
    def num_packs(self) -> int:
        """Packs in the whole schedule, of all ranks together and without fillers; packs every window when first asked.

        Raises:
            TypeError: The schedule is endless.
        """
        if self.num_windows is None:
            raise TypeError("An endless plan has no number of packs; give num_epochs.")
        if self._num_packs is None:
            self._num_packs = sum(len(self.plan_window(window)) for window in range(self.num_windows))
        return self._num_packs

    def plan_window(self, window: int) -> list[npt.NDArray[np.int64]]:
        """Pack one window of the schedule.

        Args:
            window: Counted from the start of the run, across epochs.

        Returns:
            For each pack the sample indices in it, [B] int64; the last windows asked for are remembered.

        Raises:
            DataError: A sample of the window has no tokens or more than the budget.
        """
        plan = self._plans.get(window)
        if plan is None:
            plan = self._plans[window] = self._pack(window)
            while len(self._plans) > _PLANS_KEPT:
                self._plans.popitem(last=False)
        self._plans.move_to_end(window)
        return plan

    def advance(self, position: PlanPosition, num_packs: int) -> PlanPosition:
        """Find the place that lies a number of packs after another; the end of a finite schedule is the last place."""
        window, pack = position
        pack += num_packs
        while self.num_windows is None or window < self.num_windows:
            num_in_window = len(self.plan_window(window))
            if pack < num_in_window:
                return PlanPosition(window, pack)
            window, pack = window + 1, pack - num_in_window
        return PlanPosition(window, 0)

    def __iter__(self) -> Iterator[Pack]:
        """Yield this rank's packs from ``position`` on."""
        self._check_position()
        step_start = self.advance(self.position, 0)
        while self.num_windows is None or step_start.window < self.num_windows:
            mine = self.advance(step_start, self.rank)
            next_position = self.advance(step_start, self.world_size)
            if self.num_windows is not None and mine.window >= self.num_windows:
                epoch, idxs = step_start.window // self.num_windows_per_epoch, np.empty(0, dtype=np.int64)
            else:
                epoch, idxs = mine.window // self.num_windows_per_epoch, self.plan_window(mine.window)[mine.pack]
            yield Pack(epoch, idxs, next_position)
            step_start = next_position

    def __len__(self) -> int:
        """Packs that each rank gets from ``position`` on, fillers included; TypeError where that is endless."""
        consumed = sum(len(self.plan_window(window)) for window in range(self.position.window)) + self.position.pack
        return -(-(self.num_packs - consumed) // self.world_size)

    def state_dict(self) -> dict[str, int]:
        """The place to resume from, as ``{"window": int, "pack": int}``."""
        return {"window": self.position.window, "pack": self.position.pack}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Set the place to resume from.

        Raises:
            CheckpointError: The state holds something else than two numbers from 0 up.
        """
        if set(state) != {"window", "pack"} or any(type(v) is not int or v < 0 for v in state.values()):
            raise CheckpointError(f"Sampler state: expected 'window' and 'pack' as numbers from 0 up, found {state}.")
        self.position = PlanPosition(state["window"], state["pack"])

    def _check_position(self) -> None:
        window, pack = self.position
        if self.num_windows is not None and window >= self.num_windows:
            return
        found = len(self.plan_window(window))
        if pack > found:
            raise CheckpointError(
                f"Sampler position: window {window} has {found} packs, but the run stopped after {pack} of it. "
                "Resume with the data, --tokens-per-batch and --seed of the run."
            )

    def _pack(self, window: int) -> list[npt.NDArray[np.int64]]:
        epoch, window_of_epoch = divmod(window, self.num_windows_per_epoch)
        start = window_of_epoch * self.window_size
        order = np.arange(start, min(start + self.window_size, self.num_samples))
        if self.shuffle:
            order = permute(order, self.num_samples, hashed_seed(self.seed, Stream.SHUFFLE, epoch, 0))
        lengths = self.lengths(epoch, order) if callable(self.lengths) else self.lengths[order]
        lengths = np.asarray(lengths, dtype=np.int64)
        self._check_lengths(order, lengths)
        packs = [order[pack] for pack in pack_best_fit(lengths, self.max_tokens, max_sequences=self.max_sequences)]
        if self.shuffle:  # packs opened late are made of what did not fit before: spread them over the window
            seed = hashed_seed(self.seed, Stream.PACK_ORDER, epoch, window_of_epoch)
            packs = [packs[place] for place in permute(np.arange(len(packs)), len(packs), seed)]
        return packs

    def _check_lengths(self, order: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> None:
        if lengths.shape != order.shape:
            raise DataError(f"lengths: expected {order.shape} for as many samples, got {lengths.shape}.")
        wrong = np.flatnonzero((lengths < 1) | (lengths > self.max_tokens))
        if len(wrong):
            idx, length = int(order[wrong[0]]), int(lengths[wrong[0]])
            if length < 1:
                raise DataError(f"Sample {idx} has {length} tokens, expected at least one.")
            raise DataError(
                f"Sample {idx} has {length} tokens, more than --tokens-per-batch {self.max_tokens}. "
                "Raise --tokens-per-batch or lower --max-seq-length."
            )
