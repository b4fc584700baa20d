# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The two datasets under a WebDataModule, both `webdataset.WebDataset`s that stages can be composed onto.

:class:`PlannedDataset` reads local tars by a schedule (:mod:`bionemo.webdatamodule._sharding`): exact lengths,
disjoint parts, an order that follows from seed and epoch. :class:`StreamedDataset` is webdataset's own reader, for
remote tars and for users who bring their own splitting.
"""

import copy
import os
import random
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import webdataset as wds
from torch.utils.data import get_worker_info
from webdataset.compat import check_empty
from webdataset.filters import FilterFunction
from webdataset.filters import shuffle as shuffle_stage

from bionemo.core.errors import DataFileError
from bionemo.core.progress import progress_bar
from bionemo.webdatamodule._sharding import Reader, Remainder, Stream, plan, shard_order
from bionemo.webdatamodule._tar_reading import NameFilter, ShardCount, count_samples, read_samples


RankFunction = Callable[[], tuple[int, int]]


def data_rank() -> tuple[int, int]:
    """Return rank and world size: torch.distributed's where it is initialized, else what torchrun announces."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    rank, world_size = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    return (int(rank), int(world_size)) if rank.isdecimal() and world_size.isdecimal() else (0, 1)


class Clock:
    """Which epoch a dataset is to read, and for which rank: set in the main process, read in the workers.

    Workers get a copy when they start. Persistent workers are started once, so for them the values lie in shared
    memory (``share``).
    """

    def __init__(self) -> None:
        self._values: Any = np.zeros(4, dtype=np.int64)  # epoch, turn, rank, world size; a world of 0: not set

    def share(self) -> None:
        """Move the values to shared memory, for persistent workers."""
        import torch

        self._values = torch.as_tensor(self._values).share_memory_()

    def set(self, *, epoch: int, turn: int, rank: int, world_size: int) -> None:
        """Set what the next iteration reads; ``turn`` counts repetitions within one epoch (``with_epoch``)."""
        for place, value in enumerate((epoch, turn, rank, world_size)):
            self._values[place] = value

    def read(self) -> tuple[int, int, int, int]:
        """Return epoch, turn, rank, world size."""
        epoch, turn, rank, world_size = (int(value) for value in self._values)
        return epoch, turn, rank, world_size


class _ClockedDataset(wds.WebDataset):  # type: ignore[misc] # webdataset has no types
    """A dataset whose order and shuffling follow from its clock."""

    clock: Clock
    shuffle_seed: int
    rank_function: RankFunction
    _now: tuple[int, int, int, int]

    def __iter__(self) -> Iterator[Any]:
        # Read the clock at once, not at the first sample: the main process waits for this call of persistent workers.
        running = copy.copy(self)
        epoch, turn, rank, world_size = self.clock.read()
        if world_size == 0:  # no EpochLoader around
            rank, world_size = self.rank_function()
        running._now = epoch, turn, rank, world_size
        return super(_ClockedDataset, running).__iter__()  # type: ignore[no-any-return]

    def iterator1(self) -> Iterator[Any]:
        """Start one pass through the pipeline."""
        epoch, turn, rank, world_size = self._now
        self._now = (epoch, turn + 1, rank, world_size)
        stages = keyed_stages(self.pipeline, self.shuffle_seed, epoch, turn)
        source = self._source(stages[0], epoch=epoch, turn=turn, rank=rank, world_size=world_size)
        for stage in stages[1:]:
            source = self.invoke(stage, source)
        return source

    def _source(self, stage: Any, **_: int) -> Iterator[Any]:
        return self.invoke(stage)  # type: ignore[no-any-return]


class PlannedDataset(_ClockedDataset):
    """Local tars, each sample exactly once per epoch over all ranks and workers.

    Args:
        urls: The tars, in order.
        shardshuffle: Whether each epoch reads the shards in another order; any true value means all of them.
        seed: Seed of that order and of webdataset shuffle stages without a seed of their own. The same on all ranks.
        remainder: "pad", "drop" or "uneven": what to do when the samples cannot be shared out evenly over the ranks.
        rank_function: Returns data-parallel rank and world size.
        handler: Called with the error of a damaged tar: a true answer uses the tar's samples up to the damage, a false
            one ends the list of shards there. Raises the error by default.
        select_files: Leaves out members by name.
        rename_files: Renames members before that.
        empty_check: Whether a worker without samples is an error.

    Raises:
        DataFileError: A tar is missing or cut off.
        FormatError: A file is no tar.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        shardshuffle: bool | int | None = False,
        seed: int = 0,
        remainder: Remainder = "pad",
        rank_function: RankFunction = data_rank,
        handler: Callable[[Exception], bool] = wds.reraise_exception,
        select_files: Callable[[str], bool] | None = None,
        rename_files: Callable[[str], str] | None = None,
        empty_check: bool = True,
        **_: Any,  # verbose, repeat: accepted and without effect in webdataset 1.x too
    ) -> None:
        wds.DataPipeline.__init__(self)
        self.clock, self.shuffle_seed, self.seed, self.rank_function = Clock(), int(seed), int(seed), rank_function
        names = NameFilter(rename=rename_files, select=select_files)
        shards = _count_all(urls, names, handler)
        self.append(_PlannedShards(shards, names, int(seed), bool(shardshuffle), remainder, empty_check=empty_check))

    @property
    def num_samples(self) -> int:
        """Samples of all shards together."""
        return sum(shard.num_samples for shard in self.pipeline[0].shards)

    def _source(self, stage: Any, **now: int) -> Iterator[Any]:
        return stage.read(**now)  # type: ignore[no-any-return]


class StreamedDataset(_ClockedDataset):
    """webdataset's own reader with its own splitting, shuffling and caching; errors name the tar.

    Args:
        urls: What webdataset accepts.
        kwargs: Arguments of ``webdataset.WebDataset``. Shards are split by node and by worker unless told otherwise.
    """

    def __init__(self, urls: Any, *, rank_function: RankFunction = data_rank, **kwargs: Any) -> None:
        kwargs = {"shardshuffle": False, "nodesplitter": wds.split_by_node, "seed": 0} | kwargs
        super().__init__(urls, **kwargs)
        self.clock, self.shuffle_seed, self.rank_function = Clock(), int(kwargs["seed"]), rank_function
        self.append(_name_the_tar)


class _PlannedShards:
    """First stage: the raw samples of one worker in one epoch."""

    def __init__(
        self,
        shards: list[ShardCount],
        names: NameFilter,
        seed: int,
        shuffle: bool,
        remainder: Remainder,
        *,
        empty_check: bool,
    ) -> None:
        self.shards, self._names, self._seed = shards, names, seed
        self._shuffle, self._remainder, self._empty_check = shuffle, remainder, empty_check

    def read(self, *, epoch: int, turn: int, rank: int, world_size: int) -> Iterator[dict[str, Any]]:
        counts = [shard.num_samples for shard in self.shards]
        order = (
            shard_order(len(counts), seed=self._seed, epoch=epoch, turn=turn).tolist()
            if self._shuffle
            else range(len(counts))
        )
        worker = get_worker_info()
        reader = Reader(
            rank=rank,
            world_size=world_size,
            worker=worker.id if worker else 0,
            num_workers=worker.num_workers if worker else 1,
        )
        pieces = plan(counts, order, reader, self._remainder)
        if not pieces and self._empty_check:
            yield from check_empty(iter(()))  # webdataset's own error: fewer shards than workers
        for piece in pieces:
            yield from read_samples(self.shards[piece.shard].path, piece.start, piece.stop, self._names)


def keyed_stages(stages: Sequence[Any], seed: int, epoch: int, turn: int) -> list[Any]:
    """Tie webdataset's shuffle stages to the epoch, so that a run that is continued shuffles like an unbroken one.

    ``detshuffle`` counts epochs on its own, ``shuffle(n, rng=...)`` carries its generator's state along and
    ``shuffle(n)`` takes the time: here each starts every pass from a state that follows from its own seed, the epoch
    and the turn. In the first pass of epoch 0 a given generator is used as it is. ``shuffle(n, seed=...)`` stays as it
    is: the same permutation in every pass.
    """
    result = []
    for place, stage in enumerate(stages):
        if isinstance(stage, wds.detshuffle):
            stage = copy.copy(stage)
            stage.epoch = epoch + turn - 1  # its run() adds one
        elif isinstance(stage, FilterFunction) and stage.f is shuffle_stage.f and len(stage.args) < 3:
            rng = stage.kw.get("rng")
            if rng is not None or stage.kw.get("seed") is None:
                stage = FilterFunction(stage.f, *stage.args, **stage.kw | {"rng": _rng(rng, seed, epoch, turn, place)})
        result.append(stage)
    return result


def _rng(given: random.Random | None, seed: int, epoch: int, turn: int, place: int) -> Any:
    if given is None:
        key = np.random.SeedSequence([seed, Stream.SAMPLE_ORDER, epoch, turn, place + 1])
        return random.Random(int(key.generate_state(1, np.uint64)[0]))
    rng = copy.deepcopy(given)
    if (epoch, turn) != (0, 0) and isinstance(rng, random.Random):
        rng.seed(f"{rng.getrandbits(64)} {epoch} {turn}")
    return rng


def _count_all(urls: Iterable[str], names: NameFilter, handler: Callable[[Exception], bool]) -> list[ShardCount]:
    shards = []
    for url in progress_bar(list(urls), unit="tar", description="Counting samples"):
        shard = count_samples(url.removeprefix("file://").removeprefix("file:"), names)
        if shard.error is not None and not handler(shard.error):
            break
        shards.append(shard)
    return shards


def _name_the_tar(source: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Turn the errors of webdataset's tar reader into one that names the tar and the last good sample."""
    last = None
    try:
        for sample in source:
            last = sample
            yield sample
    except (tarfile.TarError, EOFError, FileNotFoundError) as error:
        url = next((str(part) for part in reversed(error.args) if isinstance(part, str)), "a tar")
        after = f"after sample '{last['__key__']}' of {last['__url__']}" if last else "before the first sample"
        raise DataFileError(
            f"{url}: cannot be read ({type(error).__name__}), {after}. Write or copy the tar again."
        ) from error
