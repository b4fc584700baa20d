# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Preparing data for pretraining: FASTA to a sequence store, or to BioNeMo 2 compatible SQLite and parquet files."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataFileError
from bionemo.core.files import atomic_directory
from bionemo.core.progress import progress_bar
from bionemo.esm2.data.cluster_files import TRAIN_COLUMN, VALID_COLUMN
from bionemo.esm2.data.fasta_files import FastaSource
from bionemo.esm2.data.fasta_policy import REJECTED_NAME, BadRecordPolicy, DuplicatePolicy, IllegalPolicy
from bionemo.esm2.data.prepare_config import PrepareESM2DataConfig
from bionemo.esm2.data.sequence_store import SequenceStore
from bionemo.esm2.data.sequence_store_writer import build_store
from bionemo.esm2.data.splits import split_train_valid


if TYPE_CHECKING:
    import pyarrow as pa

DATABASE_NAME = "proteins.db"
TRAIN_NAME = "train_clusters.parquet"
VALID_NAME = "valid_clusters.parquet"
STORE_NAME = "store"
_CLUSTERS_AT_ONCE = 65_536


def prepare(config: PrepareESM2DataConfig) -> Path:
    """Write what ``prepare_esm2_data`` was asked for.

    Returns:
        The folder written.

    Raises:
        BionemoError: Bad input; the message names the file and the record.
    """
    if config.format == "store":
        return build_store(
            config.fasta,
            config.output_dir,
            clusters_path=config.clusters,
            **config.policies(),
            overwrite=config.overwrite,
        ).path
    return write_sqlite(
        config.fasta,
        config.output_dir,
        clusters_path=config.clusters,
        valid_fraction=config.valid_fraction,
        seed=config.seed,
        **config.policies(),
        overwrite=config.overwrite,
    )


def write_sqlite(
    fasta_path: FastaSource,
    output_dir: str | os.PathLike[str],
    *,
    clusters_path: str | os.PathLike[str] | None = None,
    valid_fraction: float = 0.05,
    seed: int = 42,
    on_illegal: IllegalPolicy = "error",
    on_bad_record: BadRecordPolicy = "error",
    on_duplicate_id: DuplicatePolicy | None = None,
    overwrite: bool = False,
) -> Path:
    """Write BioNeMo 2 compatible files: ``proteins.db``, ``train_clusters.parquet`` and ``valid_clusters.parquet``.

    The sequences go through a store in the same folder first, which checks them; it is removed at the end.

    Args:
        fasta_path: As in `build_store`: one FASTA file, a folder, a pipe, or several.
        output_dir: Folder to write; it appears when it is complete.
        clusters_path: Table of representative and member, or None: each sequence is its own cluster.
        valid_fraction: Share of the clusters that becomes validation, with its first member standing for it.
        seed: Seed of the split.
        on_illegal: Whether a residue outside the vocabulary is an error or ``X``, the unknown residue of databases.
        on_bad_record: As in `build_store`; what is left out is listed in ``rejected.tsv`` in the folder.
        on_duplicate_id: As in `build_store`.
        overwrite: Whether a folder with content may be replaced.

    Returns:
        The folder.

    Raises:
        ConfigError: A part of the split would be empty.
        MissingFileError, DataFileError, FormatError, DataError: As `build_store`.
    """
    target = Path(output_dir)
    if overwrite and target.is_dir():
        foreign = sorted(
            {path.name for path in target.iterdir()} - {DATABASE_NAME, TRAIN_NAME, VALID_NAME, REJECTED_NAME}
        )
        if foreign:
            raise DataFileError(f"{target}: holds other files ({foreign[0]}). Choose another folder.")
    with atomic_directory(target, overwrite=overwrite) as folder:
        store = build_store(
            fasta_path,
            folder / STORE_NAME,
            clusters_path=clusters_path,
            on_illegal=on_illegal,
            on_bad_record=on_bad_record,
            on_duplicate_id=on_duplicate_id,
        )
        num_clusters = len(store) if store.clusters is None else len(store.clusters.offsets) - 1
        train, valid = split_train_valid(num_clusters, valid_fraction, seed)
        _write_database(store, folder / DATABASE_NAME)
        _write_parquet(folder / TRAIN_NAME, _train_tables(store, train))
        _write_parquet(folder / VALID_NAME, _valid_tables(store, valid))
        if (store.path / REJECTED_NAME).exists():
            (store.path / REJECTED_NAME).rename(folder / REJECTED_NAME)
        for path in sorted(store.path.iterdir()):
            path.unlink()
        store.path.rmdir()
    return target


def _write_database(store: SequenceStore, path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute("CREATE TABLE protein (id TEXT PRIMARY KEY, sequence TEXT)")
            rows = (
                (store.id(idx), store.sequence(idx).replace("<unk>", "X"))
                for idx in progress_bar(range(len(store)), unit="seq", description=DATABASE_NAME)
            )
            connection.executemany("INSERT INTO protein VALUES (?, ?)", rows)
    finally:
        connection.close()


def _train_tables(store: SequenceStore, clusters: NDArray[np.int64]) -> Iterator["pa.Table"]:
    import pyarrow as pa

    for start in range(0, len(clusters), _CLUSTERS_AT_ONCE):
        part = clusters[start : start + _CLUSTERS_AT_ONCE].tolist()
        ids = [[store.id(idx) for idx in _members(store, cluster)] for cluster in part]
        yield pa.table({TRAIN_COLUMN: pa.array(ids, type=pa.list_(pa.string()))})


def _valid_tables(store: SequenceStore, clusters: NDArray[np.int64]) -> Iterator["pa.Table"]:
    import pyarrow as pa

    for start in range(0, len(clusters), _CLUSTERS_AT_ONCE):
        part = clusters[start : start + _CLUSTERS_AT_ONCE].tolist()
        yield pa.table({VALID_COLUMN: pa.array([store.id(_members(store, cluster)[0]) for cluster in part])})


def _members(store: SequenceStore, cluster: int) -> list[int]:
    if store.clusters is None:
        return [cluster]
    first, last = store.clusters.offsets[cluster : cluster + 2].tolist()
    members: list[int] = store.clusters.members[first:last].tolist()
    return members


def _write_parquet(path: Path, tables: Iterator["pa.Table"]) -> None:
    import pyarrow.parquet as pq

    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
