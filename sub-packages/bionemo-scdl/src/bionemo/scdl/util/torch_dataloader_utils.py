# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible collate functions: rows of one batch become one sparse matrix."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bionemo.core.errors import DataError
from bionemo.scdl.io.row_batch import RowBatch


# torch knows these types but hardly computes with them.
_COMPUTABLE = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}
_is_csr_announced = False


def computable(values: np.ndarray) -> np.ndarray:
    """The values in a dtype that torch computes with: int32 or int64 for the wider unsigned ones."""
    return values.astype(_COMPUTABLE.get(values.dtype, values.dtype), copy=False)


def sparse_csr(row_ptr: np.ndarray, columns: np.ndarray, values: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """A torch CSR matrix over NumPy arrays, without copying or checking them.

    Args:
        row_ptr: [B + 1] int32 or int64.
        columns: [K] int32 or int64.
        values: [K]; unsigned types that torch cannot compute with become signed ones.
        size: Rows and columns.
    """
    global _is_csr_announced
    if not _is_csr_announced:  # torch says once per process that its CSR support is in beta
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            torch.sparse_csr_tensor(
                torch.tensor([0]), torch.tensor([]), torch.tensor([]), (0, 0), check_invariants=False
            )
        _is_csr_announced = True
    return torch.sparse_csr_tensor(
        torch.from_numpy(row_ptr),
        torch.from_numpy(columns),
        torch.from_numpy(computable(values)),
        size,
        check_invariants=False,
    )


def collate_sparse_matrix_batch(batch: Sequence[torch.Tensor], *, num_columns: int | None = None) -> torch.Tensor:
    """Put the rows of a batch into one sparse CSR matrix; the order inside rows is kept.

    Args:
        batch: ``[2, nnz]`` tensors of values and columns, or what ``dataset.__getitems__`` returns.
        num_columns: Width of the matrix. Unless given it is the batch's greatest column number + 1, so widths vary.

    Returns:
        ``[len(batch), width]`` sparse CSR tensor: int64 row pointers, int32 columns, values in the rows' dtype
        (int32 or int64 for unsigned types that torch cannot compute with).

    Raises:
        DataError: A column number does not fit ``num_columns``.
    """
    rows = RowBatch.of(batch)
    greatest = int(rows.columns.max(initial=-1))
    width = greatest + 1 if num_columns is None else num_columns
    if greatest >= width:
        raise DataError(f"num_columns is {num_columns}, but the batch has a value in column {greatest}.")
    values = rows.values.astype(rows.row_dtype, copy=False)
    return sparse_csr(rows.row_ptr, rows.columns, values, (len(rows), width))


def collate_neighbor_sparse_matrix_batch(batch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put cells and their neighbors into two sparse CSR matrices.

    Args:
        batch: Dicts as ``get_row_with_neighbor`` returns them; values and columns may be arrays or lists.

    Returns:
        ``current_cells`` and ``next_cells`` (float32 CSR), ``current_cell_indices`` and ``next_cell_indices`` (lists)
        and ``batch_size``.
    """

    def matrix(key: str) -> torch.Tensor:
        # Columns never pass through floats, which hold whole numbers up to 2**24 only.
        values = [np.asarray(item[key][0], dtype=np.float32) for item in batch]
        columns = [np.asarray(item[key][1]).astype(np.int64) for item in batch]
        row_ptr = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(row) for row in values], dtype=np.int64)])
        all_columns = np.concatenate(columns) if columns else np.empty(0, np.int64)
        all_values = np.concatenate(values) if values else np.empty(0, np.float32)
        width = int(all_columns.max()) + 1 if all_columns.size else 0
        if width <= 2**31:
            all_columns = all_columns.astype(np.int32)
        return sparse_csr(row_ptr, all_columns, all_values, (len(batch), width))

    return {
        "current_cells": matrix("current_cell"),
        "next_cells": matrix("next_cell"),
        "current_cell_indices": [item["current_cell_index"] for item in batch],
        "next_cell_indices": [item["next_cell_index"] for item in batch],
        "batch_size": len(batch),
    }
