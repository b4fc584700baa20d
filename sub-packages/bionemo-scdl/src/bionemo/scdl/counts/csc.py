# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse matrices stored by columns, read by rows in bounded memory.

One pass counts the values of each row, a second drops every value into the region of its group of rows in scratch
files, a third sorts group by group.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import FormatError
from bionemo.scdl.counts.matrices import (
    SAMPLE_VALUES,
    CsrMatrix,
    RowBlock,
    Rows,
    check_columns,
    check_parts,
    sample_values,
    sparse_shape,
)
from bionemo.scdl.counts.values import ValueSummary
from bionemo.scdl.io.row_chunks import row_chunks


_SORTED_VALUES = 1 << 20


class MappedParts(dict[str, np.ndarray]):
    """Values, columns and row pointers in files of a folder; pickled as the way to them."""

    def __init__(self, folder: Path, value_dtype: np.dtype) -> None:
        """Map the files of a folder."""
        self._made_of = folder, value_dtype
        for name, dtype in (("data", value_dtype), ("indices", np.uint32), ("indptr", np.int64)):
            is_empty = not (folder / name).stat().st_size
            self[name] = np.empty(0, dtype) if is_empty else np.memmap(folder / name, dtype, "r")

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedParts, self._made_of


def _remove(folder: Path, process_id: int) -> None:
    if os.getpid() == process_id:  # not where a worker process ends
        shutil.rmtree(folder, ignore_errors=True)


class CscMatrix:
    """A sparse matrix stored by columns."""

    def __init__(self, group: Any, name: str, scratch_dir: Path | None = None) -> None:
        """Check the parts of a sparse group of an open file.

        Args:
            group: With ``data``, ``indices`` and ``indptr``.
            name: For messages.
            scratch_dir: Where to sort; the system's folder for temporary files unless given.
        """
        self.group, self.name, self.scratch_dir = group, name, scratch_dir
        self.by_rows: CsrMatrix | None = None  # once a row was read by its number
        self.shape = sparse_shape(group, name)
        check_parts(group, name, self.shape[1])

    def blocks(self, max_elements: int, max_rows: int) -> Iterator[RowBlock]:
        """Rows in order with ascending columns, at most so many values and rows at a time."""
        row_ptr = np.zeros(self.shape[0] + 1, dtype=np.int64)
        for _, rows, _ in self._columns(max_elements, with_values=False):
            check_columns(rows, self.shape[0], self.name)
            row_ptr[1:] += np.bincount(rows, minlength=self.shape[0])
        np.cumsum(row_ptr, out=row_ptr)
        groups = [
            part
            for start in range(0, self.shape[0], max_rows)
            for part in row_chunks(row_ptr, max_elements, start, min(start + max_rows, self.shape[0]))
        ]
        with tempfile.TemporaryDirectory(dir=self.scratch_dir, prefix="csc-") as folder:
            scratch = self._distribute(Path(folder), groups, row_ptr, max_elements)
            for part in groups:
                region = slice(int(row_ptr[part.start]), int(row_ptr[part.stop]))
                rows, columns, values = (
                    np.fromfile(f, a.dtype, region.stop - region.start, offset=region.start * a.itemsize)
                    for f, a in scratch
                )
                order = np.argsort(rows, kind="stable")
                lengths = np.diff(row_ptr[part.start : part.stop + 1])
                yield RowBlock(part.start, lengths, values[order], columns[order])

    def read(self, rows: np.ndarray) -> Rows:
        """Return rows by their numbers; the first call sorts the whole matrix into temporary files."""
        if self.by_rows is None:
            folder = Path(tempfile.mkdtemp(dir=self.scratch_dir, prefix="csr-"))
            weakref.finalize(self, _remove, folder, os.getpid())
            self.by_rows = self._sorted_into(folder)
        return self.by_rows.read(rows)

    def sample(self) -> ValueSummary:
        """Summarize some of the values."""
        return sample_values(self.group["data"], SAMPLE_VALUES)

    def _sorted_into(self, folder: Path) -> CsrMatrix:
        pointers = [np.zeros(1, np.int64)]
        with (folder / "data").open("wb") as values, (folder / "indices").open("wb") as columns:
            for block in self.blocks(_SORTED_VALUES, max(1, self.shape[0])):
                block.values.tofile(values)
                block.columns.astype(np.uint32).tofile(columns)
                pointers.append(np.cumsum(block.lengths) + pointers[-1][-1])
        np.concatenate(pointers).tofile(folder / "indptr")
        return CsrMatrix(MappedParts(folder, self.group["data"].dtype), self.name, self.shape)

    def _columns(self, max_elements: int, *, with_values: bool) -> Iterator[tuple[np.ndarray, np.ndarray, Any]]:
        """Column, row and value of every stored value, in the file's order, so many at a time."""
        pointers = self.group["indptr"][:].astype(np.int64)
        data, indices = self.group["data"], self.group["indices"]
        if int(pointers[0]) != 0 or (np.diff(pointers) < 0).any() or int(pointers[-1]) > data.shape[0]:
            raise FormatError(
                f"{self.name}: the column pointers do not fit the {data.shape[0]:,} values, as where 32-bit pointers "
                "overflowed. Write the matrix again with 64-bit pointers."
            )
        for start in range(0, int(pointers[-1]), max_elements):
            stop = min(start + max_elements, int(pointers[-1]))
            first = int(np.searchsorted(pointers, start, side="right")) - 1
            last = int(np.searchsorted(pointers, stop, side="left"))
            lengths = np.diff(np.clip(pointers[first : last + 1], start, stop))
            columns = np.repeat(np.arange(first, last, dtype=np.uint32), lengths)
            yield columns, indices[start:stop], data[start:stop] if with_values else None

    def _distribute(
        self, folder: Path, groups: list[slice], row_ptr: np.ndarray, max_elements: int
    ) -> list[tuple[Path, np.ndarray]]:
        """Write rows, columns and values into the regions of their groups; returns the files with their dtypes."""
        kinds = (np.dtype(np.uint32), np.dtype(np.uint32), self.group["data"].dtype)
        scratch = [(folder / name, np.empty(0, kind)) for name, kind in zip("rcv", kinds, strict=True)]
        cursors = row_ptr[[part.start for part in groups]].tolist() if groups else []
        group_starts = np.array([part.start for part in groups])
        files = [path.open("wb", buffering=0) for path, _ in scratch]
        try:
            for columns, rows, values in self._columns(max_elements, with_values=True):
                group_of = np.searchsorted(group_starts, rows, side="right") - 1
                order = np.argsort(group_of, kind="stable")
                bounds = np.searchsorted(group_of[order], np.arange(len(groups) + 1))
                for group in np.flatnonzero(np.diff(bounds)).tolist():
                    chosen = order[bounds[group] : bounds[group + 1]]
                    for file, (_, kind), source in zip(files, scratch, (rows, columns, values), strict=True):
                        file.seek(cursors[group] * kind.itemsize)
                        view = np.ascontiguousarray(source[chosen], dtype=kind.dtype).view(np.uint8).data
                        while view:
                            view = view[file.write(view) :]
                    cursors[group] += chosen.size
        finally:
            for file in files:
                file.close()
        return scratch
