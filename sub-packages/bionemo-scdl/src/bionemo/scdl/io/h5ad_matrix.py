# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Matrices of h5ad files as blocks of rows, whatever their layout and size, in bounded memory.

CSR is read straight through. Dense matrices are read by rows. CSC is sorted on disk: one pass counts the values of
each row, a second drops every value into the region of its group of rows in scratch files, a third sorts group by
group.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import DataError, FormatError
from bionemo.scdl.io.row_chunks import row_chunks


_POINTER_WINDOW = 1 << 20


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows of a matrix.

    Attributes:
        first: Number of the first row.
        lengths: [R] stored values of each row.
        values: [K] stored values.
        columns: [K] column numbers, checked against the width.
    """

    first: int
    lengths: np.ndarray
    values: np.ndarray
    columns: np.ndarray


class CsrMatrix:
    """A sparse matrix stored by rows."""

    def __init__(self, group: Any, name: str) -> None:
        """Check the parts of a sparse group of an open file; ``name`` is for messages."""
        self.group, self.name = group, name
        self.shape = _sparse_shape(group, name)
        _check_parts(group, name, self.shape[0])

    def blocks(self, max_elements: int, max_rows: int) -> Iterator[RowBlock]:
        """Rows in order, at most so many values and rows at a time; no block crosses a multiple of ``max_rows``."""
        data, indices, indptr = self.group["data"], self.group["indices"], self.group["indptr"]
        previous = 0
        for start in range(0, self.shape[0], min(max_rows, _POINTER_WINDOW)):
            stop = min(start + min(max_rows, _POINTER_WINDOW), self.shape[0])
            pointers = indptr[start : stop + 1].astype(np.int64)
            if int(pointers[0]) != previous or (np.diff(pointers) < 0).any() or int(pointers[-1]) > data.shape[0]:
                raise FormatError(f"{self.name}: the row pointers do not fit the values. The file is damaged.")
            previous = int(pointers[-1])
            for rows in row_chunks(pointers, max_elements):
                part = slice(int(pointers[rows.start]), int(pointers[rows.stop]))
                columns = indices[part]
                _check_columns(columns, self.shape[1], self.name)
                lengths = np.diff(pointers[rows.start : rows.stop + 1])
                yield RowBlock(start + rows.start, lengths, data[part], columns)


class DenseMatrix:
    """A dense matrix; its values other than zero are stored, NaN included."""

    def __init__(self, dataset: Any, name: str) -> None:
        """Take a dataset of an open file; ``name`` is for messages."""
        if len(dataset.shape) != 2:
            raise FormatError(f"{name}: {len(dataset.shape)} dimensions, expected 2.")
        self.dataset, self.name, self.shape = dataset, name, (int(dataset.shape[0]), int(dataset.shape[1]))

    def blocks(self, max_elements: int, max_rows: int) -> Iterator[RowBlock]:
        """Rows in order, at most so many matrix entries and rows at a time."""
        num_rows = max(1, min(max_elements // max(1, self.shape[1]), max_rows))
        start = 0
        while start < self.shape[0]:
            stop = min(start + num_rows, self.shape[0], (start // max_rows + 1) * max_rows)
            dense = self.dataset[start:stop]
            row_of, columns = np.nonzero(dense)
            yield RowBlock(start, np.bincount(row_of, minlength=stop - start), dense[row_of, columns], columns)
            start = stop


class CscMatrix:
    """A sparse matrix stored by columns."""

    def __init__(self, group: Any, name: str, scratch_dir: Path) -> None:
        """Check the parts of a sparse group of an open file.

        Args:
            group: With ``data``, ``indices`` and ``indptr``.
            name: For messages.
            scratch_dir: Where to sort what does not fit into memory.
        """
        self.group, self.name, self.scratch_dir = group, name, scratch_dir
        self.shape = _sparse_shape(group, name)
        _check_parts(group, name, self.shape[1])

    def blocks(self, max_elements: int, max_rows: int) -> Iterator[RowBlock]:
        """Rows in order with ascending columns, at most so many values and rows at a time."""
        row_ptr = np.zeros(self.shape[0] + 1, dtype=np.int64)
        for _, rows, _ in self._columns(max_elements, with_values=False):
            _check_columns(rows, self.shape[0], self.name)
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

    def _columns(self, max_elements: int, *, with_values: bool) -> Iterator[tuple[np.ndarray, np.ndarray, Any]]:
        """Column, row and value of every stored value, in the file's order, so many at a time."""
        pointers = self.group["indptr"][:].astype(np.int64)
        data, indices = self.group["data"], self.group["indices"]
        if int(pointers[0]) != 0 or (np.diff(pointers) < 0).any() or int(pointers[-1]) > data.shape[0]:
            raise FormatError(f"{self.name}: the column pointers do not fit the values. The file is damaged.")
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


def open_matrix(element: Any, name: str, scratch_dir: Path) -> CsrMatrix | CscMatrix | DenseMatrix:
    """Find out how a matrix of an h5ad file is stored.

    Args:
        element: A group or dataset of an open file.
        name: File and place, for messages.
        scratch_dir: Where a CSC matrix may be sorted.

    Raises:
        FormatError: It is no matrix, or damaged.
    """
    if hasattr(element, "shape"):
        return DenseMatrix(element, name)
    encoding = element.attrs.get("encoding-type", element.attrs.get("h5sparse_format", ""))
    encoding = encoding.decode() if isinstance(encoding, bytes) else str(encoding)
    if encoding.startswith("csr"):
        return CsrMatrix(element, name)
    if encoding.startswith("csc"):
        return CscMatrix(element, name, scratch_dir)
    raise FormatError(f"{name}: is stored as {encoding!r}; expected a CSR, CSC or dense matrix.")


def _sparse_shape(group: Any, name: str) -> tuple[int, int]:
    shape = group.attrs.get("shape", group.attrs.get("h5sparse_shape"))
    if shape is None or len(shape) != 2:
        raise FormatError(f"{name}: has no shape. The file is damaged.")
    return int(shape[0]), int(shape[1])


def _check_parts(group: Any, name: str, num_slots: int) -> None:
    for part in ("data", "indices", "indptr"):
        if part not in group:
            raise FormatError(f"{name}: has no {part}. The file is damaged.")
    if group["indptr"].shape[0] != num_slots + 1 or group["data"].shape != group["indices"].shape:
        raise FormatError(
            f"{name}: {group['indptr'].shape[0]} pointers, {group['indices'].shape[0]} indices and "
            f"{group['data'].shape[0]} values for {num_slots} rows or columns. The file is damaged."
        )


def _check_columns(columns: np.ndarray, width: int, name: str) -> None:
    if columns.size and (int(columns.max()) >= width or int(columns.min()) < 0):
        raise DataError(f"{name}: an index of {int(columns.max())} in a matrix of {width}. The file is damaged.")
