# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Writing sequence stores as a stream: memory stays bounded whatever the size of the source.

The bound: one block of FASTA text (8 MiB, and its longest record) with its tokens, plus the sorting of ids, which goes
through hashes of 8 bytes kept on the disk and takes them `bionemo.esm2.data.array_files.SORT_ITEMS`
at a time (about 100 MiB).
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError, DataFileError, MissingFileError
from bionemo.core.files import atomic_directory, write_json
from bionemo.core.progress import progress_bar
from bionemo.esm2.data.array_files import ColumnWriter, sorted_by_key
from bionemo.esm2.data.clusters import write_cluster_files
from bionemo.esm2.data.fasta import EncodedBlock, FastaSummary, IllegalPolicy, iter_encoded_blocks
from bionemo.esm2.data.sequence_store import (
    FORMAT_NAME,
    FORMAT_VERSION,
    HEADER_NAME,
    SequenceStore,
    hash_ids,
    header_checksum,
    is_store,
)
from bionemo.esm2.data.tokenizer import CLS_ID, EOS_ID


logger = logging.getLogger(__name__)

_HASHES_NAME = "id_hashes_unsorted.tmp"


def build_store(
    fasta_path: str | os.PathLike[str],
    store_dir: str | os.PathLike[str],
    *,
    clusters_path: str | os.PathLike[str] | None = None,
    on_illegal: IllegalPolicy = "error",
    overwrite: bool = False,
) -> SequenceStore:
    """Write a store from a FASTA file.

    Args:
        fasta_path: FASTA, plain or gzip.
        store_dir: Folder to write; it appears when it is complete.
        clusters_path: Table with two columns, representative and member (tab-separated, or parquet), or None.
        on_illegal: Whether a residue outside the vocabulary is an error or ``<unk>``.
        overwrite: Whether an existing store may be replaced.

    Returns:
        The store, opened.

    Raises:
        MissingFileError, DataFileError, FormatError, DataError: As `bionemo.esm2.data.fasta.read_fasta`; an id that
            occurs twice; a bad cluster table; a folder that cannot be written or holds something else.
    """
    target = Path(store_dir)
    if overwrite and target.is_dir() and any(target.iterdir()) and not is_store(target):
        raise DataFileError(f"{target}: holds files that are no sequence store. Choose another folder.")
    summary = FastaSummary()
    with atomic_directory(target, overwrite=overwrite) as folder:
        # The fingerprint is taken first: a file that changes while it is read does not match it later.
        source = fingerprint(fasta_path, clusters_path, on_illegal)
        files, max_length = _write_sequences(Path(fasta_path), folder, on_illegal, summary)
        files |= _write_id_index(Path(fasta_path), folder)
        (folder / _HASHES_NAME).unlink()
        header: dict[str, Any] = {
            "format": FORMAT_NAME,
            "version": FORMAT_VERSION,
            "num_sequences": summary.num_sequences,
            "max_length": max_length,
            "source": source,
            "summary": summary.to_dict(),
            "files": files,
        }
        _write_header(folder, header)
        if clusters_path is not None:
            store = SequenceStore.open(folder, verify=False)
            files |= write_cluster_files(clusters_path, store, folder)
            _write_header(folder, header)
            del store
    summary.log(fasta_path)
    return SequenceStore.open(target, verify=False)


def open_or_build_store(
    path: str | os.PathLike[str],
    store_dir: str | os.PathLike[str],
    *,
    clusters_path: str | os.PathLike[str] | None = None,
    on_illegal: IllegalPolicy = "error",
) -> SequenceStore:
    """Open the store of a FASTA file, and build it first where there is none or the file has changed.

    Args:
        path: FASTA file, or a folder that already is a store (then nothing is built).
        store_dir: Where the store of a FASTA file is kept. It is reused when name, size and modification time of the
            file, and the settings, are those it was built from.
        clusters_path: As in `build_store`.
        on_illegal: As in `build_store`.

    Raises:
        MissingFileError, DataFileError, FormatError, DataError: As `build_store` and `SequenceStore.open`.
    """
    if is_store(path):
        return SequenceStore.open(path)

    def existing() -> SequenceStore | None:
        if not (is_store(store_dir) and Path(path).exists()):
            return None
        store = SequenceStore.open(store_dir)
        return store if store.header["source"] == fingerprint(path, clusters_path, on_illegal) else None

    store = existing()
    if store is not None:
        logger.info("%s: reusing the sequence store of %s", store_dir, path)
        return store
    if is_store(store_dir):
        logger.info("%s: %s has changed, building the sequence store again", store_dir, path)
    try:
        return build_store(path, store_dir, clusters_path=clusters_path, on_illegal=on_illegal, overwrite=True)
    except DataFileError:
        store = existing()  # ranks that start together build the same store: another one was faster
        if store is None:
            raise
        return store


def fingerprint(
    fasta_path: str | os.PathLike[str], clusters_path: str | os.PathLike[str] | None, on_illegal: IllegalPolicy
) -> dict[str, Any]:
    """Name, size in bytes and modification time of the inputs, and the settings that decide what a store holds."""
    entries: dict[str, Any] = {"on_illegal": on_illegal}
    for key, path in (("fasta", fasta_path), ("clusters", clusters_path)):
        if path is None:
            entries[key] = None
            continue
        if not Path(path).exists():
            raise MissingFileError(f"{path}: there is no such {'FASTA' if key == 'fasta' else 'cluster'} file.")
        status = Path(path).stat()
        entries[key] = {"name": Path(path).name, "size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    return entries


def _write_sequences(
    fasta_path: Path, folder: Path, on_illegal: IllegalPolicy, summary: FastaSummary
) -> tuple[dict[str, Any], int]:
    """Write tokens, ids and both offsets, block after block; returns their entries and the longest sequence."""
    max_length = 0
    with (
        ColumnWriter(folder / "tokens.bin", "|u1") as tokens,
        ColumnWriter(folder / "offsets.bin", "<i8") as offsets,
        ColumnWriter(folder / "ids.bin", "|u1") as ids,
        ColumnWriter(folder / "id_offsets.bin", "<i8") as id_offsets,
        ColumnWriter(folder / _HASHES_NAME, "<u8") as hashes,
        progress_bar(total=_size_bytes(fasta_path), unit="B", description=fasta_path.name) as bar,
    ):
        offsets.append(np.zeros(1, dtype=np.int64))
        id_offsets.append(np.zeros(1, dtype=np.int64))
        separator = bytes([EOS_ID, CLS_ID])
        for block in iter_encoded_blocks(fasta_path, on_illegal=on_illegal, summary=summary, on_progress=bar.update):
            lengths, id_lengths = _lengths(block)
            offsets.append(tokens.count + np.cumsum(lengths))
            id_offsets.append(ids.count + np.cumsum(id_lengths))
            tokens.append(bytes([CLS_ID]) + separator.join(block.residues) + bytes([EOS_ID]))
            ids.append(b"".join(block.ids))
            hashes.append(hash_ids(block.ids))
            max_length = max(max_length, int(lengths.max()))
        columns = {"tokens": tokens, "offsets": offsets, "ids": ids, "id_offsets": id_offsets}
        return {f"{name}.bin": column.close() for name, column in columns.items()}, max_length


def _lengths(block: EncodedBlock) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    num = len(block.ids)
    lengths = np.fromiter(map(len, block.residues), dtype=np.int64, count=num) + 2  # <cls> and <eos>
    return lengths, np.fromiter(map(len, block.ids), dtype=np.int64, count=num)


def _write_id_index(fasta_path: Path, folder: Path) -> dict[str, Any]:
    """Sort the ids by their hash, and find those that occur twice on the way."""
    keys = np.memmap(folder / _HASHES_NAME, dtype="<u8", mode="r").view(np.ndarray)
    id_bytes = np.memmap(folder / "ids.bin", dtype=np.uint8, mode="r").view(np.ndarray)
    id_offsets = np.memmap(folder / "id_offsets.bin", dtype="<i8", mode="r").view(np.ndarray)

    def name(idx: int) -> str:
        return bytes(id_bytes[id_offsets[idx] : id_offsets[idx + 1]]).decode()

    with (
        ColumnWriter(folder / "id_hashes.bin", "<u8") as id_hashes,
        ColumnWriter(folder / "id_order.bin", "<i8") as id_order,
    ):
        for part_keys, places in sorted_by_key(keys):
            _check_unique(fasta_path, part_keys, places, name)
            id_hashes.append(part_keys)
            id_order.append(places)
        return {"id_hashes.bin": id_hashes.close(), "id_order.bin": id_order.close()}


def _check_unique(
    fasta_path: Path, keys: NDArray[np.uint64], places: NDArray[np.int64], name: Callable[[int], str]
) -> None:
    """Equal hashes are rare and nearly always equal ids: only those are compared as text."""
    for entry in np.flatnonzero(keys[1:] == keys[:-1]).tolist():
        for other in range(entry, -1, -1):
            if keys[other] != keys[entry + 1]:
                break
            first, second = int(places[other]), int(places[entry + 1])
            if name(first) == name(second):
                raise DataError(
                    f"{fasta_path}: the id {name(first)!r} occurs twice, in records {first + 1} and {second + 1}. "
                    "Ids must be unique: rename or remove one."
                )


def _write_header(folder: Path, header: dict[str, Any]) -> None:
    header["header_crc32"] = header_checksum(header)
    write_json(folder / HEADER_NAME, header)


def _size_bytes(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None
