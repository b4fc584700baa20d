# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cluster tables: which sequences stand for each other, so that an epoch draws one member of each cluster.

A table has two columns, representative and member, one row per member, as `mmseqs` writes them: tab-separated text
without a header (one that reads ``representative<tab>member`` is skipped), plain or gzip, or parquet with columns of
these names. The representative is only the cluster's name: it counts as a member where a row says so.
"""

import gzip
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import DataError, DataFileError, FormatError, MissingFileError
from bionemo.esm2.data.array_files import ColumnWriter, sorted_by_key
from bionemo.esm2.data.sequence_store import SequenceStore, hash_ids


logger = logging.getLogger(__name__)

COLUMNS = ("representative", "member")
_BLOCK_BYTES = 8 * 2**20
_TEMPORARY = ("cluster_keys.tmp", "cluster_rows.tmp", "cluster_seen.tmp")


def iter_cluster_table(path: str | os.PathLike[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Read a cluster table block by block.

    Args:
        path: Table, told to be parquet by its name (``.parquet`` or ``.pq``).

    Yields:
        Representatives and members of some rows, two lists of equal length.

    Raises:
        MissingFileError: There is no such file.
        DataFileError: It cannot be read.
        FormatError: It has other columns.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such cluster file. Check the path.")
    yield from _iter_parquet(path) if path.suffix in (".parquet", ".pq") else _iter_text(path)


def write_cluster_files(path: str | os.PathLike[str], store: SequenceStore, folder: Path) -> Mapping[str, Any]:
    """Write the clusters of a store as ``cluster_offsets.bin`` and ``cluster_members.bin``.

    Clusters come in the order of the hashes of their representatives (64 bits: among 65 million representatives two
    are confused with a chance of 1e-4), members in the order of the table. Memory stays bounded.

    Args:
        path: Cluster table.
        store: The sequences that it speaks of.
        folder: Where to write.

    Returns:
        The entries of the two files for the store's header.

    Raises:
        DataError: A member is not in the store, or occurs twice.
        MissingFileError, DataFileError, FormatError: As `iter_cluster_table`.
    """
    keys_path, rows_path, seen_path = (folder / name for name in _TEMPORARY)
    seen = np.memmap(seen_path, dtype=bool, mode="w+", shape=(len(store),))
    num_rows = 0
    with ColumnWriter(keys_path, "<u8") as keys, ColumnWriter(rows_path, "<i8") as rows:
        for representatives, members in iter_cluster_table(path):
            idxs = store.find(members)
            missing = np.flatnonzero(idxs < 0)
            if len(missing):
                raise DataError(
                    f"{path}: row {num_rows + int(missing[0]) + 1}: the member {members[missing[0]]!r} is not among "
                    f"the {len(store)} sequences. Give the FASTA file that holds the members."
                )
            _, first, counts = np.unique(idxs, return_index=True, return_counts=True)
            twice = np.concatenate([np.flatnonzero(seen[idxs]), first[counts > 1]])
            if len(twice):
                raise DataError(f"{path}: the member {members[int(twice[0])]!r} is listed twice. List each one once.")
            seen[idxs] = True
            keys.append(hash_ids([name.encode() for name in representatives]))
            rows.append(idxs)
            num_rows += len(members)
    if num_rows == 0:
        raise FormatError(f"{path}: the cluster table is empty. Expected rows of representative and member.")
    if num_rows < len(store):
        logger.warning("%s: %d sequences are in no cluster and are left out", path, len(store) - num_rows)
    entries = _write_sorted(keys_path, rows_path, folder)
    del seen
    for name in _TEMPORARY:
        (folder / name).unlink()
    return entries


def _write_sorted(keys_path: Path, rows_path: Path, folder: Path) -> dict[str, Any]:
    all_keys = np.memmap(keys_path, dtype="<u8", mode="r").view(np.ndarray)
    all_rows = np.memmap(rows_path, dtype="<i8", mode="r").view(np.ndarray)
    with (
        ColumnWriter(folder / "cluster_offsets.bin", "<i8") as offsets,
        ColumnWriter(folder / "cluster_members.bin", "<i8") as members,
    ):
        for keys, places in sorted_by_key(all_keys):
            is_first = np.ones(len(keys), dtype=bool)
            is_first[1:] = keys[1:] != keys[:-1]  # equal keys never lie in two ranges
            offsets.append(members.count + np.flatnonzero(is_first))
            members.append(all_rows[places])
        offsets.append(np.array([members.count]))
        return {"cluster_offsets.bin": offsets.close(), "cluster_members.bin": members.close()}


def _iter_text(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    number = 0
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            while lines := file.readlines(_BLOCK_BYTES):
                pairs = [line.rstrip("\r\n").split("\t") for line in lines]
                for offset, pair in enumerate(pairs):
                    if len(pair) != 2 or not pair[0] or not pair[1]:
                        raise FormatError(
                            f"{path}: line {number + offset + 1}: expected two tab-separated ids (representative, "
                            f"member), found {lines[offset].strip()[:60]!r}."
                        )
                if number == 0 and tuple(pairs[0]) == COLUMNS:
                    del pairs[0]
                number += len(lines)
                if pairs:
                    yield [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is not UTF-8 text. Expected a tab-separated table or a .parquet file.") from error
    except (OSError, EOFError) as error:
        raise DataFileError(f"{path}: cannot be read: {error}.") from error


def _iter_parquet(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        found = file.schema_arrow.names
        if not set(COLUMNS) <= set(found):
            raise FormatError(f"{path}: expected the columns {' and '.join(COLUMNS)}, found {found}.")
        for batch in file.iter_batches(columns=list(COLUMNS)):
            representatives, members = (batch.column(batch.schema.get_field_index(name)) for name in COLUMNS)
            for name, column in zip(COLUMNS, (representatives, members), strict=True):
                is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
                if column.null_count or not is_text:
                    raise FormatError(
                        f"{path}: column {name!r} must hold text without missing values, found {column.type} with "
                        f"{column.null_count} missing."
                    )
            yield representatives.to_pylist(), members.to_pylist()
    except pa.ArrowException as error:
        raise FormatError(f"{path}: is not a readable parquet file: {error}.") from error
