# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Copying many rows out of an archive in one go.

Rows that follow each other are one slice, copied into recycled memory. A private window of the file would save this
copy but cost more in page faults, to whoever reads the batch and still more to whoever writes into it.

Scattered rows are gathered by the compiled routine behind SciPy's own row indexing, which copies both arrays row by
row without Python and without holding the interpreter lock. It wants one of the two arrays to hold 32- or 64-bit
integers: values of that width are handed over as integers (their bits are only moved). Where it does not apply (narrow
values with narrow columns, pointers too far apart), NumPy joins row slices.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bionemo.core.buffers import BATCHES


def _scipy_routine() -> Callable[..., None] | None:
    """SciPy's row gather, if this SciPy has it and it does what is expected of it."""
    try:
        from scipy.sparse._sparsetools import csr_row_index

        pointers = np.array([3, 5, 0, 1], dtype=np.int32)  # row 0 is items 3 and 4, row 2 is item 0
        bits, items = np.arange(10, 16, dtype=np.int32), np.arange(6, dtype=np.uint16)
        out_bits, out_items = np.empty(3, np.int32), np.empty(3, np.uint16)
        csr_row_index(2, np.array([0, 2], np.int32), pointers, bits, items, out_bits, out_items)
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
    works = out_bits.tolist() == [13, 14, 10] and out_items.tolist() == [3, 4, 0]
    return csr_row_index if works else None


_CSR_ROW_INDEX = _scipy_routine()


def gather_rows(
    values: np.ndarray, columns: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Copy rows, given by their ranges in the two arrays, one behind the other.

    Args:
        values: [N] stored values of any dtype.
        columns: [N] column numbers, unsigned.
        starts: [B] int64, first item of each row wanted.
        ends: [B] int64, end of each row, not below its start.

    Returns:
        Values [K] in their dtype, columns [K] as int32 (int64 for uint64 columns or uint32 numbers from 2**31), and
        row pointers [B + 1] int64; the first two are fresh and writable.
    """
    row_ptr = np.zeros(len(starts) + 1, dtype=np.int64)
    np.cumsum(ends - starts, out=row_ptr[1:])
    total = int(row_ptr[-1])
    if total == 0:
        return np.empty(0, values.dtype), np.empty(0, np.int32), row_ptr
    if int(ends[-1]) - int(starts[0]) == total and bool((starts[1:] == ends[:-1]).all()):
        part = slice(int(starts[0]), int(ends[-1]))
        copied = BATCHES.empty(total, values.dtype)
        np.copyto(copied, values[part])
        return copied, _as_signed(columns[part]), row_ptr
    gathered = _gather_natively(values, columns, starts, ends, total)
    if gathered is None:
        slices = list(map(slice, starts.tolist(), ends.tolist()))
        joined = BATCHES.empty(total, values.dtype), BATCHES.empty(total, columns.dtype)
        for source, target in zip((values, columns), joined, strict=True):
            np.concatenate([source[part] for part in slices], out=target)
        gathered = joined
    return gathered[0], _as_signed(gathered[1]), row_ptr


def _gather_natively(
    values: np.ndarray, columns: np.ndarray, starts: np.ndarray, ends: np.ndarray, total: int
) -> tuple[np.ndarray, np.ndarray] | None:
    if _CSR_ROW_INDEX is None or not (values.flags.aligned and columns.flags.aligned):
        return None
    if values.dtype.itemsize in (4, 8):
        as_integers, others, values_first = values, columns, True
    elif columns.dtype.itemsize in (4, 8):
        as_integers, others, values_first = columns, values, False
    else:
        return None
    # float16 has no SciPy kernel; as bits it is an integer like any other.
    others = others.view(np.uint16) if others.dtype == np.float16 else others
    integer: Any = np.int32 if as_integers.dtype.itemsize == 4 else np.int64
    base = int(starts.min())
    if integer is np.int32 and int(ends.max()) - base >= 2**31:
        return None
    pointers = np.empty(2 * len(starts), dtype=integer)
    pointers[::2] = starts - base
    pointers[1::2] = ends - base
    rows = np.arange(0, 2 * len(starts), 2, dtype=integer)
    out_integers, out_others = BATCHES.empty(total, as_integers.dtype), BATCHES.empty(total, others.dtype)
    _CSR_ROW_INDEX(
        len(starts),
        rows,
        pointers,
        as_integers[base:].view(integer),
        others[base:],
        out_integers.view(integer),
        out_others,
    )
    if values_first:
        return out_integers, out_others
    return out_others.view(values.dtype), out_integers


def _as_signed(columns: np.ndarray) -> np.ndarray:
    """Column numbers as a fresh array of a signed type that torch takes as indices."""
    if columns.dtype.itemsize == 8 or (columns.dtype == np.uint32 and columns.size and int(columns.max()) >= 2**31):
        return columns.astype(np.int64)
    signed = BATCHES.empty(columns.size, np.int32)
    np.copyto(signed, columns, casting="unsafe")
    return signed
