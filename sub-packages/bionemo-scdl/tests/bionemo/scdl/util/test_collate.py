# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from bionemo.scdl.io.row_batch import RowBatch
from bionemo.scdl.util.collate import CsrCollate, DenseCollate, PaddedPairsCollate


DTYPES = ["uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
EXPECTED = [[2, 0, 0, 4, 0, 0], [0] * 6, [0, 3, 0, 0, 0, 0]]


def make_batch(dtype="float32"):
    """Rows (1, 2, 3) in columns (3, 0, 3), none, and 3 in column 1: column 3 occurs twice."""
    values, columns = np.array([1, 2, 3, 3]).astype(dtype), np.array([3, 0, 3, 1], np.int32)
    return RowBatch(values, columns, np.array([0, 3, 3, 4]), np.dtype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_csr_has_the_archive_s_width_and_int32_indices(dtype):
    matrix = CsrCollate(6)(make_batch(dtype))
    assert matrix.shape == (3, 6)
    assert matrix.crow_indices().dtype == matrix.col_indices().dtype == torch.int32
    assert matrix.values().tolist() == [1, 2, 3, 3]
    assert matrix.to_dense()[2].tolist() == EXPECTED[2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("as_list", [False, True])
def test_dense_adds_up_duplicates(dtype, as_list):
    batch = make_batch(dtype)
    dense = DenseCollate(6)(list(batch) if as_list else batch)
    assert dense.dtype == torch.float32
    assert dense.tolist() == EXPECTED


def test_a_reused_buffer_is_the_same_memory_and_clean():
    collate = DenseCollate(6, reuse_buffer=True, dtype=torch.float64)
    first = collate(make_batch())
    address = first.data_ptr()
    second = collate(RowBatch(np.array([9.0]), np.array([5], np.int32), np.array([0, 1]), np.dtype(float)))
    assert second.data_ptr() == address
    assert second.tolist() == [[0, 0, 0, 0, 0, 9]]
    assert DenseCollate(6)(make_batch()).data_ptr() != address


def test_padded_pairs():
    pairs = PaddedPairsCollate(pad_column=99, pad_to=4)(make_batch("uint16"))
    assert pairs["columns"].tolist() == [[3, 0, 3, 99], [99] * 4, [1, 99, 99, 99]]
    assert pairs["values"].tolist() == [[1, 2, 3, 0], [0] * 4, [3, 0, 0, 0]]
    assert pairs["mask"].sum(1).tolist() == [3, 0, 1]
    short = PaddedPairsCollate(max_length=2)(make_batch())
    assert short["columns"].tolist() == [[3, 0], [-1, -1], [1, -1]]
    with pytest.raises(ValueError, match="must be at least 1"):
        PaddedPairsCollate(max_length=0)


def test_columns_beyond_the_width_are_refused():
    for collate in (CsrCollate(3), DenseCollate(3)):
        with pytest.raises(ValueError, match="num_columns is 3, but the batch has a value in column 3"):
            collate(make_batch())
