# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Matrices of cells by genes, in memory or in an open file: blocks of rows, single rows, a sample of the values.

A matrix in a file is never read as a whole. CSR is read straight through and dense matrices by rows; columns of a
matrix stored by columns are sorted on disk, see :mod:`.csc`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bionemo.core.errors import DataError, FormatError
from bionemo.scdl.counts.values import ValueSummary
from bionemo.scdl.io.row_chunks import row_chunks


Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Values [K], column numbers [K] int32 and row pointers [B + 1] int64 of B rows."""

_POINTER_WINDOW = 1 << 20
_SAMPLE_WINDOWS, SAMPLE_VALUES = 5, 1 << 15
_MAX_GAP = 1 << 12  # stored values between two rows of a file that are read along rather than in two requests


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


class Matrix(Protocol):
    """Cells by genes."""

    name: str
    shape: tuple[int, int]

    def blocks(self, max_elements: int, max_rows: int) -> Iterator[RowBlock]:
        """Iterate over all rows in order, at most so many values and rows at a time.

        No block crosses a multiple of ``max_rows``; a longer row is a block of its own.
        """

    def read(self, rows: np.ndarray) -> Rows:
        """Return rows by their numbers, in the order asked for."""

    def sample(self) -> ValueSummary:
        """Summarize some of the values, from all parts of the matrix."""


class CsrMatrix:
    """A sparse matrix stored by rows."""

    def __init__(self, group: Any, name: str, shape: tuple[int, int] | None = None) -> None:
        """Check the parts of a sparse matrix.

        Args:
            group: With ``data``, ``indices`` and ``indptr``: a group of an open file, or a dict of arrays.
            name: File and place, for messages.
            shape: Cells by genes, where the group does not record it.
        """
        self.group, self.name = group, name
        self.shape = sparse_shape(group, name) if shape is None else shape
        self._pointers: np.ndarray | None = None
        check_parts(group, name, self.shape[0])

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
                check_columns(columns, self.shape[1], self.name)
                lengths = np.diff(pointers[rows.start : rows.stop + 1])
                yield RowBlock(start + rows.start, lengths, data[part], columns)

    def read(self, rows: np.ndarray) -> Rows:
        """Return rows by their numbers; see `Matrix`."""
        data, indices = self.group["data"], self.group["indices"]
        pointers = self._checked_pointers()
        starts, ends = pointers[rows], pointers[rows + 1]
        if not isinstance(data, np.ndarray):
            data, indices, starts, ends = _read_spans(data, indices, starts, ends)
        from bionemo.scdl.io.row_gather import gather_rows  # loads SciPy, which opening a store must not wait for

        values, columns, row_ptr = gather_rows(data, indices, starts, ends)
        check_columns(columns, self.shape[1], self.name)
        return values, columns.astype(np.int32, copy=False), row_ptr

    def _checked_pointers(self) -> np.ndarray:
        """[R + 1] int64, read once; 32-bit pointers wrap around at 2**31 values."""
        if self._pointers is None:
            pointers = np.asarray(self.group["indptr"][:]).astype(np.int64, copy=False)
            num_values = self.group["data"].shape[0]
            if int(pointers[0]) != 0 or (np.diff(pointers) < 0).any() or int(pointers[-1]) > num_values:
                raise FormatError(
                    f"{self.name}: the row pointers do not fit the {num_values:,} values, as where 32-bit pointers "
                    "overflowed. Write the matrix again with 64-bit pointers."
                )
            self._pointers = pointers
        return self._pointers

    def sample(self) -> ValueSummary:
        """Summarize some of the values; see `Matrix`."""
        return sample_values(self.group["data"], SAMPLE_VALUES)


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

    def read(self, rows: np.ndarray) -> Rows:
        """Return rows by their numbers; see `Matrix`."""
        wanted, places = np.unique(rows, return_inverse=True)
        dense = np.empty((len(wanted), self.shape[1]), self.dataset.dtype)
        for run in _runs(wanted[1:] == wanted[:-1] + 1, len(wanted)):
            dense[run] = self.dataset[int(wanted[run.start]) : int(wanted[run.stop - 1]) + 1]
        if not np.array_equal(places, np.arange(len(rows))):
            dense = dense[places]
        row_of, columns = np.nonzero(dense)
        row_ptr = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(np.bincount(row_of, minlength=len(rows)), out=row_ptr[1:])
        return dense[row_of, columns], columns.astype(np.int32), row_ptr

    def sample(self) -> ValueSummary:
        """Summarize some of the values; see `Matrix`."""
        return sample_values(self.dataset, max(1, SAMPLE_VALUES // max(1, self.shape[1])))


def sample_values(array: Any, length: int) -> ValueSummary:
    """Summarize windows of ``length`` entries along the first dimension of an array, first and last included."""
    summary, num_entries = ValueSummary(), int(array.shape[0])
    last = max(0, num_entries - length)
    for start in sorted({last * window // (_SAMPLE_WINDOWS - 1) for window in range(_SAMPLE_WINDOWS)}):
        summary.add(ValueSummary.of(np.asarray(array[start : min(start + length, num_entries)])))
    return summary


def _read_spans(data: Any, indices: Any, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, ...]:
    """Read rows of a file into memory, each once and in the order of the file, which chunks are unpacked in.

    Args:
        data: Stored values of the file.
        indices: Their column numbers.
        starts: [B] int64, first value of each row.
        ends: [B] int64, end of each row.

    Returns:
        Values and column numbers in memory, and the starts and ends of the rows there.
    """
    order = np.argsort(starts, kind="stable")
    first, last = starts[order], np.maximum.accumulate(ends[order])
    places = np.empty(len(starts), dtype=np.int64)
    spans, length = [], 0
    for run in _runs(first[1:] - last[:-1] <= _MAX_GAP, len(starts)):
        spans.append((length, int(first[run.start]), int(last[run.stop - 1])))
        places[order[run]] = first[run] - first[run.start] + length
        length += spans[-1][2] - spans[-1][1]
    values, columns = np.empty(length, data.dtype), np.empty(length, indices.dtype)
    for place, start, end in spans:
        values[place : place + end - start], columns[place : place + end - start] = data[start:end], indices[start:end]
    return values, columns, places, places + ends - starts


def _runs(follows: np.ndarray, length: int) -> Iterator[slice]:
    """Split positions into runs; ``follows`` tells of each position but the first whether it continues the run."""
    starts = [0, *(np.flatnonzero(~follows) + 1).tolist()] if length else []
    return (slice(start, stop) for start, stop in zip(starts, [*starts[1:], length], strict=True))


def sparse_shape(group: Any, name: str) -> tuple[int, int]:
    """Return the recorded shape of a sparse matrix."""
    shape = group.attrs.get("shape", group.attrs.get("h5sparse_shape"))
    if shape is None or len(shape) != 2:
        raise FormatError(f"{name}: has no shape. The file is damaged.")
    return int(shape[0]), int(shape[1])


def check_parts(group: Any, name: str, num_slots: int) -> None:
    """Refuse a sparse matrix whose arrays are missing or do not fit together."""
    for part in ("data", "indices", "indptr"):
        if part not in group:
            raise FormatError(f"{name}: has no {part}. The file is damaged.")
    if group["indptr"].shape[0] != num_slots + 1 or group["data"].shape != group["indices"].shape:
        raise FormatError(
            f"{name}: {group['indptr'].shape[0]} pointers, {group['indices'].shape[0]} indices and "
            f"{group['data'].shape[0]} values for {num_slots} rows or columns. The file is damaged."
        )


def check_columns(columns: np.ndarray, width: int, name: str) -> None:
    """Refuse column numbers outside of the matrix."""
    if not columns.size:
        return
    unsigned = columns.view(columns.dtype.str.replace("i", "u"))  # negative numbers are the highest
    if int(unsigned.max()) >= width:
        found = int(columns[int(unsigned.argmax())])
        raise DataError(f"{name}: an index of {found} in a matrix of {width}. The file is damaged.")
