# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Batches prepared by threads of this process while the training step runs.

Worker processes have to send every batch through shared memory, which costs more than gathering it. The gather itself
runs in compiled code without the interpreter lock, so threads do the same work without sending anything. Waiting for
that lock costs about as much as a small batch: a thread therefore takes several small batches at a time and gathers
their rows in one step.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any

from bionemo.core.errors import ConfigError
from bionemo.scdl.sampling.batch_sampler import GlobalBatchSampler


if TYPE_CHECKING:
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


class PrefetchLoader:
    """Iterates over collated batches in the sampler's order, some of them prepared ahead."""

    def __init__(
        self,
        dataset: "SingleCellMemMapDataset",
        batch_sampler: Any,
        collate_fn: Callable[[Any], Any],
        *,
        num_threads: int = 2,
        rows_per_task: int = 256,
    ) -> None:
        """Set up a loader; threads start with the iteration.

        Args:
            dataset: The archive.
            batch_sampler: Yields lists of row numbers; a :class:`GlobalBatchSampler` can be resumed exactly.
            collate_fn: Makes a batch from what ``dataset.__getitems__`` returns; called in the threads, so one with a
                reusable buffer does not fit.
            num_threads: Tasks worked on at the same time; one more is done or waits. More of them would hold so much
                memory that it can no longer be recycled from batch to batch.
            rows_per_task: A thread takes batches until it has so many rows, one batch at least.
        """
        if num_threads < 1:
            raise ConfigError(f"num_threads is {num_threads}; it must be at least 1.")
        self.dataset, self.batch_sampler, self.collate_fn = dataset, batch_sampler, collate_fn
        self.num_threads, self.rows_per_task = num_threads, rows_per_task
        self._num_ahead = 0

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def _next_task(self, batches: Iterator[list[int]]) -> list[list[int]]:
        """Take batches for one thread; none at the end."""
        task, num_rows = [], 0
        for rows in batches:
            task.append(rows)
            num_rows += len(rows)
            if num_rows >= self.rows_per_task:
                break
        return task

    def _prepare(self, task: list[list[int]]) -> tuple[list[Any], Exception | None]:
        """Collated batches, up to the first that fails, and its error."""
        prepared: list[Any] = []
        try:
            gathered = self.dataset.__getitems__(list(chain(*task)))
            for batch in gathered.split([len(rows) for rows in task]):
                prepared.append(self.collate_fn(batch))
        except Exception as error:  # noqa: BLE001  # raised again where the batch is asked for
            return prepared, error
        return prepared, None

    def __iter__(self) -> Iterator[Any]:
        waiting: deque[Future[tuple[list[Any], Exception | None]]] = deque()
        self._num_ahead = 0
        batches = iter(self.batch_sampler)
        with ThreadPoolExecutor(self.num_threads, thread_name_prefix="scdl-prefetch") as pool:
            try:
                while True:
                    while len(waiting) <= self.num_threads:
                        task = self._next_task(batches)
                        if not task:
                            break
                        self._num_ahead += len(task)
                        waiting.append(pool.submit(self._prepare, task))
                    if not waiting:
                        return
                    prepared, error = waiting.popleft().result()
                    prepared.reverse()
                    while prepared:
                        self._num_ahead -= 1
                        yield prepared.pop()  # not kept here, so that its memory can be used again
                    if error is not None:
                        raise error
            finally:
                for future in waiting:
                    future.cancel()

    def state_dict(self) -> dict[str, int]:
        """Where to continue so that the next batch is the one after the last batch handed out.

        Raises:
            ConfigError: The sampler keeps no state.
        """
        return self._sampler().state_dict(ahead=self._num_ahead)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where :meth:`state_dict` was taken; call it between iterations."""
        self._num_ahead = 0
        self._sampler().load_state_dict(state)

    def _sampler(self) -> GlobalBatchSampler:
        if not isinstance(self.batch_sampler, GlobalBatchSampler):
            raise ConfigError(f"{type(self.batch_sampler).__name__} keeps no state. Use a GlobalBatchSampler.")
        return self.batch_sampler
