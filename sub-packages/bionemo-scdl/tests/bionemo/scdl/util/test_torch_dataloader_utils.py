# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bionemo.scdl.io.row_batch import RowBatch
from bionemo.scdl.util.torch_dataloader_utils import (
    collate_neighbor_sparse_matrix_batch,
    collate_sparse_matrix_batch,
)


def row(values, columns, dtype=torch.float32):
    return torch.tensor([values, columns], dtype=dtype)


def test_rows_become_one_matrix_as_wide_as_needed():
    matrix = collate_sparse_matrix_batch([row([1, 2], [4, 0]), row([], []), row([3], [1])])
    assert matrix.layout == torch.sparse_csr
    assert matrix.shape == (3, 5)
    assert (matrix.crow_indices().dtype, matrix.col_indices().dtype) == (torch.int64, torch.int32)
    assert matrix.values().tolist() == [1, 2, 3]
    assert matrix.col_indices().tolist() == [4, 0, 1]
    assert matrix.to_dense().tolist() == [[2, 0, 0, 0, 1], [0] * 5, [0, 3, 0, 0, 0]]


def test_width_can_be_fixed():
    assert collate_sparse_matrix_batch([row([1], [2])], num_columns=9).shape == (1, 9)
    assert collate_sparse_matrix_batch([row([], [])]).shape == (1, 0)
    with pytest.raises(ValueError, match="num_columns is 2, but the batch has a value in column 2"):
        collate_sparse_matrix_batch([row([1], [2])], num_columns=2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"])
@pytest.mark.parametrize("columns", ["uint8", "uint16", "uint32"])
def test_a_compact_batch_gives_the_same_as_its_rows_and_becomes_dense(dtype, columns):
    def batch():
        return RowBatch(
            np.array([1, 2, 3], dtype),
            np.array([4, 0, 1], np.int32),
            np.array([0, 2, 2, 3]),
            np.promote_types(dtype, columns),
        )

    compact, listed = collate_sparse_matrix_batch(batch()), collate_sparse_matrix_batch(list(batch()))
    assert compact.values().dtype == listed.values().dtype
    for matrix in (compact, listed):
        assert matrix.to_dense().tolist() == [[2, 0, 0, 0, 1], [0] * 5, [0, 3, 0, 0, 0]]


def test_neighbor_batches_keep_large_columns_exact():
    item = {
        "current_cell": ([1.0, 2.0], [2**24 + 1, 0]),
        "next_cell": (np.array([]), np.array([])),
        "current_cell_index": 3,
        "next_cell_index": 4,
    }
    batch = collate_neighbor_sparse_matrix_batch([item, item | {"next_cell": ([5], [1])}])
    assert batch["current_cells"].col_indices().tolist() == [2**24 + 1, 0] * 2
    assert batch["current_cells"].dtype == torch.float32
    assert batch["next_cells"].shape == (2, 2)
    assert batch["current_cell_indices"] == [3, 3]
    assert batch["next_cell_indices"] == [4, 4]
    assert batch["batch_size"] == 2


def test_default_collate_of_one_row(make_archive):
    dataset = make_archive()
    assert [tuple(item.shape) for item in DataLoader(dataset, batch_size=1)] == [
        (1, 2, 2),
        (1, 2, 0),
        (1, 2, 2),
        (1, 2, 2),
    ]
