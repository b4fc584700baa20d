# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The loader around a dataset: it says which epoch is read, and counts batches so that a run can be continued."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import webdataset as wds

from bionemo.core.errors import CheckpointError
from bionemo.webdatamodule.dataset import PlannedDataset, StreamedDataset, keyed_stages


class Position:
    """Where a run is in its training data: the epoch, and how many batches of it every rank has consumed.

    Without a Trainer each iteration over the loader is the next epoch, and a batch counts once it is handed out. Under
    ``Trainer.fit`` the Trainer's own progress counts instead, because it fetches one batch ahead.
    """

    def __init__(self) -> None:
        self._epoch, self._batches, self._begun, self._finished, self._run = 0, 0, False, False, 0
        self._resumed: dict[str, int] = {}
        self._facts: dict[str, int] = {}
        self._trainer: Any = None

    def begin(self, trainer: Any, facts: dict[str, int]) -> tuple[int, int | None, int]:
        """Start an iteration.

        Args:
            trainer: The Trainer that the data module belongs to, or None.
            facts: What must not change within an epoch, such as the world size.

        Returns:
            The epoch, the batches of it to leave out because they were consumed before (None: all of them), and the
            iteration's number.

        Raises:
            CheckpointError: The facts differ from those of the state that was loaded.
        """
        resumed_epoch, consumed = self._resumed.get("epoch", 0), self._resumed.get("batches", 0)
        self._trainer = trainer if _is_fitting(trainer) else None
        if self._trainer is not None:
            epoch = int(trainer.current_epoch)
            # A checkpoint behind the last batch of its epoch: Lightning from 2.5 on uses this iteration for the next
            # epoch, 2.4 first ends the old epoch with it and must not find another batch there.
            if epoch < resumed_epoch and hasattr(trainer.fit_loop, "restarted_mid_epoch"):
                epoch = resumed_epoch
        else:
            epoch = self._epoch + self._begun
        skip = None if epoch < resumed_epoch else consumed if epoch == resumed_epoch else 0
        changed = [name for name, value in facts.items() if skip and self._resumed.get(name, value) != value]
        if changed:
            name = changed[0]
            raise CheckpointError(
                f"The saved position in the training data is {skip} batches into epoch {epoch} with "
                f"{name}={self._resumed[name]}, now {name}={facts[name]}. Continue with the old value, or from a "
                "checkpoint at the end of an epoch."
            )
        self._epoch, self._batches, self._begun, self._finished, self._facts = epoch, skip or 0, True, False, facts
        self._run += 1
        return epoch, skip, self._run

    def count(self, run: int) -> None:
        """Count one batch of the iteration ``run``; iterations that were given up for a newer one do not count."""
        self._batches += run == self._run

    def finish(self, run: int) -> None:
        """Note that the iteration ``run`` came to its end."""
        self._finished |= run == self._run

    def state_dict(self) -> dict[str, int]:
        """Return the position as integers: epoch, batches, and what must not change until the epoch ends."""
        epoch, batches, finished = self._epoch, self._batches, self._finished
        if self._trainer is not None:
            loop = self._trainer.fit_loop
            progress = loop.epoch_loop.batch_progress
            epoch = max(loop.epoch_progress.current.ready - 1, epoch)
            batches = progress.current.ready
            finished = progress.is_last_batch or batches >= self._trainer.num_training_batches
        if finished:
            epoch, batches = epoch + 1, 0
        return {"epoch": epoch, "batches": batches, **self._facts}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration continue behind a saved position."""
        self._resumed = {name: int(value) for name, value in state.items()}
        self._epoch, self._batches = self._resumed.get("epoch", 0), self._resumed.get("batches", 0)
        self._begun, self._finished, self._trainer = False, False, None
        self._facts = {name: value for name, value in self._resumed.items() if name not in ("epoch", "batches")}


class EpochLoader(wds.WebLoader):  # type: ignore[misc] # webdataset has no types
    """A `webdataset.WebLoader` that tells its dataset the epoch and continues where an earlier run stopped.

    Args:
        dataset: What is read.
        position: Where training stands; None for validation and test data, which start over at every iteration.
        module: The data module, which knows its Trainer.
        kwargs: Arguments of torch's DataLoader.
    """

    def __init__(
        self, dataset: PlannedDataset | StreamedDataset, *, position: Position | None, module: Any, **kwargs: Any
    ) -> None:
        super().__init__(dataset, **kwargs)
        self.position, self._module, self._dataset = position, module, dataset
        self._num_workers = int(kwargs.get("num_workers", 0))
        self._epoch, self._turn = 0, 0
        self._persistent = bool(kwargs.get("persistent_workers"))
        if self._persistent:
            dataset.clock.share()

    def __iter__(self) -> Iterator[Any]:
        running = copy.copy(self)
        running._epoch, running._turn = 0, 0
        skip: int | None = 0
        run = 0
        if self.position is not None:
            facts = {"world_size": self._dataset.rank_function()[1], "num_workers": self._num_workers}
            if isinstance(self._dataset, PlannedDataset):
                facts["num_samples"] = self._dataset.num_samples
            running._epoch, skip, run = self.position.begin(self._module.trainer, facts)
        batches = super(EpochLoader, running).__iter__()
        return batches if self.position is None else _counted(batches, self.position, skip, run)

    def iterator1(self) -> Iterator[Any]:
        """Start one pass through the DataLoader and the stages behind it."""
        rank, world_size = self._dataset.rank_function()
        self._dataset.clock.set(epoch=self._epoch, turn=self._turn, rank=rank, world_size=world_size)
        stages = keyed_stages(self.pipeline, self._dataset.shuffle_seed, self._epoch, self._turn)
        self._turn += 1
        source = _ending_workers(self.invoke(stages[0]), persistent=self._persistent)
        for stage in stages[1:]:
            source = self.invoke(stage, source)
        return source  # type: ignore[no-any-return]

    def state_dict(self) -> dict[str, int]:
        """Return the position in the training data; empty for validation and test data."""
        return self.position.state_dict() if self.position is not None else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue behind a saved position."""
        if self.position is not None and state:
            self.position.load_state_dict(state)


def _counted(batches: Iterator[Any], position: Position, skip: int | None, run: int) -> Iterator[Any]:
    if skip is None:
        return
    # What was consumed is read again and dropped: stages such as shuffle buffers must pass through the same states.
    batches = iter(batches)
    for _ in itertools.islice(batches, skip):
        pass
    for batch in batches:
        position.count(run)
        yield batch
    position.finish(run)


def _ending_workers(batches: Iterator[Any], *, persistent: bool) -> Iterator[Any]:
    # Left to the garbage collector, workers of an iteration that failed or was given up can take 5 s each to end.
    try:
        yield from batches
    finally:
        if not persistent and hasattr(batches, "_shutdown_workers"):
            batches._shutdown_workers()


def _is_fitting(trainer: Any) -> bool:
    return trainer is not None and trainer.state.fn == "fit" and trainer.state.status == "running"
