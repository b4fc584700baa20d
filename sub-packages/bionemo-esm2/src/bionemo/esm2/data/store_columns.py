# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The array files of a sequence store: written from encoded records as a stream, and rid of ids that occur twice."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.esm2.data.array_files import ColumnWriter, sorted_by_key
from bionemo.esm2.data.fasta import FILE_STRIDE
from bionemo.esm2.data.fasta_blocks import EncodedBlock
from bionemo.esm2.data.fasta_policy import DuplicatePolicy, FastaSummary, RejectedFile, RejectedRecord
from bionemo.esm2.data.sequence_store import hash_ids
from bionemo.esm2.data.tokenizer import CLS_ID, EOS_ID


_COLUMNS = {"tokens.bin": "|u1", "offsets.bin": "<i8", "ids.bin": "|u1", "id_offsets.bin": "<i8"}
_HASHES_NAME = "id_hashes_unsorted.tmp"
_PLACES_NAME = "places.tmp"
_TEMPORARY = {_HASHES_NAME: "<u8", _PLACES_NAME: "<i8"}
_RECORDS_AT_ONCE = 65_536


class Duplicate(NamedTuple):
    """A sequence whose id an earlier one has."""

    row: int
    first_row: int


def write_columns(folder: Path, blocks: Iterable[EncodedBlock]) -> dict[str, Any]:
    """Write tokens, ids, their offsets and two temporary columns, block after block.

    Returns:
        The entries of the files that stay, for the header of the store.
    """
    with (
        ColumnWriter(folder / "tokens.bin", "|u1") as tokens,
        ColumnWriter(folder / "offsets.bin", "<i8") as offsets,
        ColumnWriter(folder / "ids.bin", "|u1") as ids,
        ColumnWriter(folder / "id_offsets.bin", "<i8") as id_offsets,
        ColumnWriter(folder / _HASHES_NAME, "<u8") as hashes,
        ColumnWriter(folder / _PLACES_NAME, "<i8") as places,
    ):
        offsets.append(np.zeros(1, dtype=np.int64))
        id_offsets.append(np.zeros(1, dtype=np.int64))
        separator = bytes([EOS_ID, CLS_ID])
        for block in blocks:
            offsets.append(tokens.count + np.cumsum(_lengths(block.residues) + 2))  # <cls> and <eos>
            id_offsets.append(ids.count + np.cumsum(_lengths(block.ids)))
            tokens.append(bytes([CLS_ID]) + separator.join(block.residues) + bytes([EOS_ID]))
            ids.append(b"".join(block.ids))
            hashes.append(hash_ids(block.ids))
            places.append(np.array(block.places, dtype=np.int64))
        columns = {"tokens": tokens, "offsets": offsets, "ids": ids, "id_offsets": id_offsets}
        return {f"{name}.bin": column.close() for name, column in columns.items()}


def write_id_index(folder: Path) -> tuple[dict[str, Any], list[Duplicate]]:
    """Sort the ids by their hash.

    Returns:
        The entries of the two files, and the sequences whose id an earlier one has, in their order.
    """
    columns = _Columns(folder)
    duplicates: list[Duplicate] = []
    with (
        ColumnWriter(folder / "id_hashes.bin", "<u8") as id_hashes,
        ColumnWriter(folder / "id_order.bin", "<i8") as id_order,
    ):
        for part_keys, rows in sorted_by_key(columns.arrays[_HASHES_NAME]):
            duplicates += _duplicates(columns, part_keys, rows)
            id_hashes.append(part_keys)
            id_order.append(rows)
        return {"id_hashes.bin": id_hashes.close(), "id_order.bin": id_order.close()}, sorted(duplicates)


def resolve_duplicates(
    folder: Path,
    duplicates: Sequence[Duplicate],
    policy: DuplicatePolicy,
    files: Sequence[str],
    summary: FastaSummary,
    rejected: RejectedFile,
) -> dict[str, Any]:
    """Leave out or number the sequences whose id an earlier one has, and write all columns and the index again.

    Args:
        folder: Columns and index as written.
        duplicates: What `write_id_index` found, at least one.
        policy: What to do.
        files: What messages call the files of the source.
        summary: Counts what is done.
        rejected: Takes what is left out.

    Returns:
        The entries of all files.

    Raises:
        DataError: The policy is ``"error"``.
    """
    columns = _Columns(folder)
    if policy == "error":
        raise _duplicate_error(columns, duplicates[0], files)
    renamed: dict[int, bytes] = {}
    if policy == "number":
        renamed = _numbered(columns, duplicates)
        summary.num_ids_numbered += len(renamed)
    else:
        for duplicate in duplicates:
            file, number = columns.place(duplicate.row, files)
            reason = f"the id stands before, in {columns.describe(duplicate.first_row, files, file)}"
            rejected(RejectedRecord(file, number, 0, columns.name(duplicate.row).decode(), reason))
            summary.num_residues -= columns.length(duplicate.row)
        summary.num_records_rejected += len(duplicates)
        summary.num_sequences -= len(duplicates)
    left_out = {duplicate.row for duplicate in duplicates} - renamed.keys()
    before = folder / "with_duplicates"
    before.mkdir()
    for name in (*_COLUMNS, *_TEMPORARY):
        (folder / name).rename(before / name)
    entries = write_columns(folder, _Columns(before).blocks(left_out, renamed))
    shutil.rmtree(before)
    index, _ = write_id_index(folder)
    return entries | index


def remove_temporary_columns(folder: Path) -> None:
    """Remove the columns that only the writing needs."""
    for name in _TEMPORARY:
        (folder / name).unlink()


class _Columns:
    """The columns of a folder, mapped for reading."""

    def __init__(self, folder: Path):
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.memmap(folder / name, dtype=dtype, mode="r").view(np.ndarray)
            for name, dtype in (_COLUMNS | _TEMPORARY).items()
        }

    def name(self, row: int) -> bytes:
        """Id of a sequence."""
        start, end = self.arrays["id_offsets.bin"][row : row + 2]
        return self.arrays["ids.bin"][start:end].tobytes()

    def length(self, row: int) -> int:
        """Residues of a sequence."""
        start, end = self.arrays["offsets.bin"][row : row + 2]
        return int(end - start) - 2

    def place(self, row: int, files: Sequence[str]) -> tuple[str, int]:
        """File and number of the record that a sequence was."""
        file_idx, number = divmod(int(self.arrays[_PLACES_NAME][row]), FILE_STRIDE)
        return files[file_idx], number

    def describe(self, row: int, files: Sequence[str], file: str) -> str:
        """Record of a sequence in words; its file only where it is another one than `file`."""
        own_file, number = self.place(row, files)
        return f"record {number}" if own_file == file else f"record {number} of {own_file}"

    def blocks(self, left_out: set[int], renamed: Mapping[int, bytes]) -> Iterator[EncodedBlock]:
        """Iterate over the records again, some left out, some renamed."""
        for first in range(0, len(self.arrays[_PLACES_NAME]), _RECORDS_AT_ONCE):
            places = self.arrays[_PLACES_NAME][first : first + _RECORDS_AT_ONCE]
            rows = [row for row in range(first, first + len(places)) if row not in left_out]
            if rows:
                ids = [renamed.get(row) or self.name(row) for row in rows]
                yield EncodedBlock(ids, [self._residues(row) for row in rows], [int(places[r - first]) for r in rows])

    def _residues(self, row: int) -> bytes:
        start, end = self.arrays["offsets.bin"][row : row + 2]
        return self.arrays["tokens.bin"][start + 1 : end - 1].tobytes()


def _lengths(texts: Sequence[bytes]) -> NDArray[np.int64]:
    return np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))


def _duplicates(columns: _Columns, keys: NDArray[np.uint64], rows: NDArray[np.int64]) -> list[Duplicate]:
    """Equal hashes are rare and nearly always equal ids: only those are compared as text."""
    found = []
    first_rows: dict[bytes, int] = {}
    for entry in np.flatnonzero(keys[1:] == keys[:-1]).tolist():
        for row in rows[entry : entry + 2].tolist():
            first_row = first_rows.setdefault(columns.name(row), row)
            if first_row != row:
                found.append(Duplicate(row, first_row))
    return list(dict.fromkeys(found))


def _duplicate_error(columns: _Columns, duplicate: Duplicate, files: Sequence[str]) -> DataError:
    file, number = columns.place(duplicate.first_row, files)
    name = columns.name(duplicate.row).decode()
    other_file, other_number = columns.place(duplicate.row, files)
    where = (
        f"records {number} and {other_number}"
        if other_file == file
        else f"record {number} and in record {other_number} of {other_file}"
    )
    return DataError(
        f"{file}: the id {name!r} occurs twice, in {where}. Ids must be unique: rename or remove one, or choose "
        "--duplicate-ids number or skip (on_duplicate_id)."
    )


def _numbered(columns: _Columns, duplicates: Sequence[Duplicate]) -> dict[int, bytes]:
    """Name later records ``id_2``, ``id_3``, ...; a name that is taken is left out."""
    taken_hashes = np.sort(columns.arrays[_HASHES_NAME])
    taken: set[bytes] = set()
    next_number: dict[bytes, int] = {}
    renamed = {}
    for duplicate in duplicates:
        name = columns.name(duplicate.row)
        number = next_number.get(name, 2)
        while (new := b"%s_%d" % (name, number)) in taken or _contains(taken_hashes, new):
            number += 1
        next_number[name] = number + 1
        taken.add(new)
        renamed[duplicate.row] = new
    return renamed


def _contains(sorted_hashes: NDArray[np.uint64], name: bytes) -> bool:
    value = hash_ids([name])[0]
    place = int(np.searchsorted(sorted_hashes, value))
    return place < len(sorted_hashes) and bool(sorted_hashes[place] == value)
