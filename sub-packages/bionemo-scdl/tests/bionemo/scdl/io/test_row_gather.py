# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from bionemo.scdl.io import row_gather


DTYPES = ["uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("column_dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("value_dtype", DTYPES)
def test_rows_in_any_order(value_dtype, column_dtype, native, monkeypatch):
    if not native:
        monkeypatch.setattr(row_gather, "_CSR_ROW_INDEX", None)
    rng = np.random.default_rng(1)
    row_ptr = np.concatenate([[0], np.cumsum(rng.integers(0, 9, 30))])
    values = rng.integers(0, 200, row_ptr[-1]).astype(value_dtype)
    columns = rng.integers(0, 255, row_ptr[-1]).astype(column_dtype)
    for rows in ([5, 5, 0, 29, 3], [4, 5, 6], [7], [], list(range(30))):
        starts, ends = row_ptr[rows], row_ptr[np.asarray(rows, dtype=int) + 1]
        got_values, got_columns, got_ptr = row_gather.gather_rows(values, columns, starts, ends)
        items = np.concatenate([np.arange(s, e) for s, e in zip(starts, ends, strict=True)]) if rows else []
        np.testing.assert_array_equal(got_values, values[np.asarray(items, dtype=int)], strict=True)
        np.testing.assert_array_equal(got_columns, columns[np.asarray(items, dtype=int)])
        assert got_columns.dtype == (np.int64 if column_dtype == "uint64" and len(got_columns) else np.int32)
        assert got_ptr.tolist() == [0, *np.cumsum(ends - starts)]
        assert got_values.flags.writeable


def test_the_compiled_routine_is_in_use():
    assert row_gather._CSR_ROW_INDEX is not None


def test_rows_too_far_apart_for_32_bits_are_joined_by_numpy(monkeypatch):
    calls = []
    monkeypatch.setattr(row_gather, "_CSR_ROW_INDEX", lambda *args: calls.append(args))
    # Arrays of this length are only promised, never touched between the two rows.
    values = np.lib.stride_tricks.as_strided(np.array([7.0], np.float32), shape=(2**31 + 10,), strides=(0,))
    columns = np.lib.stride_tricks.as_strided(np.array([3], np.uint16), shape=(2**31 + 10,), strides=(0,))
    starts, ends = np.array([2**31, 0]), np.array([2**31 + 2, 1])
    got_values, got_columns, _ = row_gather.gather_rows(values, columns, starts, ends)
    assert (got_values.tolist(), got_columns.tolist(), calls) == ([7, 7, 7], [3, 3, 3], [])


def test_large_column_numbers_need_64_bits():
    columns = np.array([2**31, 1], np.uint32)
    _, got, _ = row_gather.gather_rows(np.ones(2, np.float32), columns, np.array([0]), np.array([2]))
    assert got.tolist() == [2**31, 1]
