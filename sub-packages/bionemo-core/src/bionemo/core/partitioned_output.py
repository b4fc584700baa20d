# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of results that several ranks compute partition by partition, and that a killed run resumes.

A partition is a run of consecutive records: the unit that is computed, written atomically and, after a kill, not
repeated. Partitions do not depend on the number of ranks: rank r of W computes partitions r, r + W, ..., and a
run can be resumed on another number of ranks. The records may come from a list or from a stream of unknown length; a
resumed run reads the stream again, to its end, and skips the partitions that are written.

Until the run ends, ``NAME.incomplete`` holds a folder ``partition-000000``, ``partition-000001``, ... for each
finished partition. Then rank 0 joins or keeps their files, and the whole folder gets its name in one step.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from bionemo.core.errors import DataError
from bionemo.core.files import atomic_directory, atomic_file, write_json
from bionemo.core.optional_deps import require
from bionemo.core.progress import progress_bar
from bionemo.core.resumable import ResumableDirectory, resumable_directory


T = TypeVar("T")
FINISHED_NAME = "partitions.json"
"""Written when all partitions are; holds their number."""


class Ranks(Protocol):
    """Processes that share the work, such as ``bionemo.llm.training.data_parallel_ranks.DataParallelRanks``."""

    @property
    def rank(self) -> int:
        """Rank of this process, from 0."""

    @property
    def world_size(self) -> int:
        """Number of processes."""

    def barrier(self) -> None:
        """Wait for all ranks."""


class OneProcess:
    """A run without other ranks."""

    rank, world_size = 0, 1

    def barrier(self) -> None:
        """Return at once."""


class PartitionedOutput:
    """The folder in the making, as one rank sees it; made by :func:`partitioned_output`.

    Attributes:
        folder: Where final files are written: ``output.folder.part("report.json")``.
        is_main: Whether this is rank 0, which joins the partitions and writes everything else.
    """

    def __init__(self, folder: ResumableDirectory, ranks: Ranks):
        self.folder = folder
        self.is_main = ranks.rank == 0
        self._ranks = ranks

    def partition_path(self, number: int) -> Path:
        """Return the folder of a partition."""
        return self.folder.part(f"partition-{number:06d}")

    def compute(
        self,
        partitions: Iterable[T],
        write: Callable[..., None],
        *,
        calculate: Callable[[T], Any] | None = None,
        size: Callable[[T], int] = len,  # type: ignore[assignment]  # partitions usually have a length
        unit: str = "record",
        description: str = "",
    ) -> None:
        """Write the missing partitions of this rank, then wait until those of all ranks are written.

        Args:
            partitions: All partitions of the run, equal on every rank and in every run; a list or a stream.
            write: Gets a partition and an empty folder, computes the partition and writes its files into the folder,
                which appears when it returns.
            calculate: Computes one partition; ``write`` then gets partition, results and folder and writes in a thread
                of its own, while the next partition is computed. The stream of partitions is read ahead likewise.
            size: Number of units of a partition, for the progress bar.
            unit: Name of one unit.
            description: What is computed, for the progress bar.

        Raises:
            DataError: There is no partition.
        """
        if self.folder.has(FINISHED_NAME):
            if self.is_main:
                for _ in partitions:  # reading them may report something, such as bad records
                    pass
            return
        rank, world_size = self._ranks.rank, self._ranks.world_size
        total = sum(map(size, partitions[rank::world_size])) if isinstance(partitions, Sequence) else None
        num_partitions = 0

        def save(number: int, *results: Any) -> None:
            with atomic_directory(self.partition_path(number)) as folder:
                write(*results, folder)

        with (
            progress_bar(total=total, unit=unit, description=description) as bar,
            ThreadPoolExecutor(1) as reader,
            ThreadPoolExecutor(1) as writer,
        ):
            writing: Future[None] | None = None
            for number, partition in enumerate(partitions if calculate is None else _read_ahead(partitions, reader)):
                num_partitions = number + 1
                if number % world_size != rank:
                    continue
                if not self.partition_path(number).exists():
                    if calculate is None:
                        save(number, partition)
                    else:
                        results = calculate(partition)
                        if writing is not None:
                            writing.result()
                        writing = writer.submit(save, number, partition, results)
                bar.update(size(partition))
            if writing is not None:
                writing.result()
        if not num_partitions:
            raise DataError(f"{self.folder.path}: the input is empty, there is nothing to compute.")
        self._ranks.barrier()
        if self.is_main:
            write_json(self.folder.part(FINISHED_NAME), {"num_partitions": num_partitions})

    @property
    def num_partitions(self) -> int:
        """Number of partitions of the run; known to rank 0 after :meth:`compute`."""
        content = json.loads(self.folder.part(FINISHED_NAME).read_text(encoding="utf-8"))
        return int(content["num_partitions"])

    def files(self, name: str) -> list[Path]:
        """Return the files of one name, in the order of the partitions."""
        return [self.partition_path(number) / name for number in range(self.num_partitions)]

    def join(self, name: str, join: Callable[[Sequence[Path], IO[bytes]], None]) -> Path:
        """Join the files of one name to one file of that name, atomically, unless an earlier call did.

        Args:
            name: Name of the file in each partition and in the result.
            join: Reads the files and writes their content to an open file, for example :func:`join_parquet`.

        Returns:
            The file.
        """
        path = self.folder.part(name)
        if not path.exists():
            with atomic_file(path) as file:
                join(self.files(name), file)
        return path

    def keep(self, name: str, kept_name: Callable[[int, int], str]) -> None:
        """Rename the files of one name into the result, one file for each partition.

        Args:
            name: Name of the file in each partition.
            kept_name: (partition, number of partitions) to the new path below the result, for example
                ``lambda number, total: f"embeddings-{number + 1:05d}-of-{total:05d}.safetensors"``.
        """
        for number, path in enumerate(self.files(name)):
            if path.exists():  # else renamed by a run that was killed
                kept = self.folder.part(kept_name(number, self.num_partitions))
                kept.parent.mkdir(parents=True, exist_ok=True)
                path.rename(kept)

    def remove_partitions(self) -> None:
        """Remove the partitions, once everything that is made of them is written."""
        for number in range(self.num_partitions):
            shutil.rmtree(self.partition_path(number), ignore_errors=True)


def _read_ahead(items: Iterable[T], reader: ThreadPoolExecutor) -> Iterator[T]:
    """Yield what comes from an iterable, the next item being made in a thread."""
    iterator, end = iter(items), object()
    coming: Future[Any] = reader.submit(next, iterator, end)
    while (item := coming.result()) is not end:
        coming = reader.submit(next, iterator, end)
        yield item


@contextlib.contextmanager
def partitioned_output(
    path: str | os.PathLike[str], fingerprint: Mapping[str, Any], ranks: Ranks | None = None
) -> Iterator[PartitionedOutput]:
    """Open a folder of results that appears under its name when the block of rank 0 ends.

    After a `ConfigError` or `DataError` nothing remains; what any other failure or a kill leaves is used by the next
    run with the same fingerprint.

    Args:
        path: Where the folder shall be; nothing but an empty folder may have that name.
        fingerprint: Everything that decides on the content of the partitions (inputs, weights, settings), as plain
            values for JSON; not the number of ranks.
        ranks: The processes that share the work; default: this process alone.

    Yields:
        The output, on every rank.

    Raises:
        DataFileError: The folder exists already, cannot be written, or another run is filling it.
        ConfigError: Unfinished work has another fingerprint.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp(), "lengths")
    >>> with partitioned_output(target, {"input": "two proteins and one"}) as output:
    ...     proteins = partitions_of(iter(["MKV", "MA", "MKVLA"]), size=len, max_size=5)
    ...     output.compute(proteins, lambda part, folder: (folder / "n.txt").write_text(f"{len(part)} ") and None)
    ...     output.keep("n.txt", lambda number, total: f"n-{number + 1}-of-{total}.txt")
    ...     output.remove_partitions()
    >>> sorted(file.name for file in target.iterdir())
    ['n-1-of-2.txt', 'n-2-of-2.txt']
    """
    ranks = ranks or OneProcess()
    if ranks.rank != 0:
        ranks.barrier()  # rank 0 has opened the folder
        yield PartitionedOutput(ResumableDirectory(Path(path).resolve()), ranks)
        return
    with resumable_directory(path, fingerprint) as folder:
        ranks.barrier()
        yield PartitionedOutput(folder, ranks)
    (folder.path / FINISHED_NAME).unlink(missing_ok=True)


def partitions_of(
    records: Iterable[T], *, size: Callable[[T], int], max_size: int, max_records: int | None = None
) -> Iterator[list[T]]:
    """Cut records, a list or a stream, into consecutive partitions; one record larger than a partition stays whole.

    Args:
        records: In the order in which they are computed.
        size: What a record adds to its partition: tokens, bytes, cells.
        max_size: Sum of the sizes of a partition at most.
        max_records: Number of records of a partition at most.

    >>> list(partitions_of(["MKV", "MA", "MKVLA"], size=len, max_size=5))
    [['MKV', 'MA'], ['MKVLA']]
    """
    partition: list[T] = []
    partition_size = 0
    for record in records:
        record_size = size(record)
        if partition and (partition_size + record_size > max_size or len(partition) == max_records):
            yield partition
            partition, partition_size = [], 0
        partition.append(record)
        partition_size += record_size
    if partition:
        yield partition


def dictionary_columns(schema: Any) -> list[str]:
    """Names of an Arrow schema's columns that a dictionary makes smaller; of vectors it only takes time."""
    return [field.name for field in schema if not field.type.num_fields]


def join_parquet(paths: Sequence[Path], file: IO[bytes]) -> None:
    """Join Parquet files of one schema, one of them in memory at a time; for :meth:`PartitionedOutput.join`."""
    pq = require("pyarrow.parquet", extra="pyarrow")
    schema = pq.read_schema(paths[0])
    with pq.ParquetWriter(file, schema, use_dictionary=dictionary_columns(schema)) as writer:
        for path in paths:
            writer.write_table(pq.read_table(path))
