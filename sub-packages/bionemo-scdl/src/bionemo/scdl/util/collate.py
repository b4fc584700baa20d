# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Collate functions of fixed width: every batch of an archive gets the same number of columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bionemo.core.errors import ConfigError, DataError
from bionemo.scdl.io.row_batch import RowBatch
from bionemo.scdl.util.torch_dataloader_utils import computable, sparse_csr


@dataclass(frozen=True)
class CsrCollate:
    """Batches as torch sparse CSR ``[B, num_columns]`` with int32 row pointers and columns.

    Attributes:
        num_columns: Width, usually the number of genes.
    """

    num_columns: int

    def __call__(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        """Collate rows; raises DataError where a column does not fit. Values keep their order and duplicates."""
        rows = _fitting(batch, self.num_columns)
        index_dtype = np.int32 if rows.values.size < 2**31 and self.num_columns <= 2**31 else np.int64
        return sparse_csr(
            rows.row_ptr.astype(index_dtype),
            rows.columns.astype(index_dtype, copy=False),
            rows.values,
            (len(rows.row_ptr) - 1, self.num_columns),
        )


class DenseCollate:
    """Batches as dense ``[B, num_columns]`` tensors; values of a duplicate column are added up."""

    def __init__(self, num_columns: int, *, dtype: torch.dtype = torch.float32, reuse_buffer: bool = False) -> None:
        """Set the form.

        Args:
            num_columns: Width, usually the number of genes.
            dtype: Of the result.
            reuse_buffer: Whether every batch is written over the one before it, which saves allocating; only without
                worker processes or threads, and if a batch is done with before the next is fetched.
        """
        self.num_columns, self.dtype, self.reuse_buffer = num_columns, dtype, reuse_buffer
        self._buffer: torch.Tensor | None = None

    def __call__(self, batch: Sequence[torch.Tensor]) -> torch.Tensor:
        """Collate rows; raises DataError where a column does not fit."""
        rows = _fitting(batch, self.num_columns)
        num_rows = len(rows.row_ptr) - 1
        if not self.reuse_buffer:
            dense = torch.zeros(num_rows, self.num_columns, dtype=self.dtype)
        else:
            if self._buffer is None or len(self._buffer) < num_rows:
                self._buffer = torch.empty(num_rows, self.num_columns, dtype=self.dtype)
            dense = self._buffer[:num_rows].zero_()
        offsets = np.repeat(np.arange(num_rows, dtype=np.int64) * self.num_columns, np.diff(rows.row_ptr))
        positions = torch.from_numpy(offsets + rows.columns)
        values = torch.from_numpy(computable(rows.values)).to(self.dtype)
        dense.view(-1).index_add_(0, positions, values)
        return dense


@dataclass(frozen=True)
class PaddedPairsCollate:
    """Batches as padded lists of genes and their values, for models that take genes as tokens.

    Attributes:
        max_length: Genes kept per cell, the first ones in stored order; None keeps all.
        pad_column: Column number that fills up shorter rows.
        pad_to: Width of the result is rounded up to a multiple of this.
    """

    max_length: int | None = None
    pad_column: int = -1
    pad_to: int = 1

    def __post_init__(self) -> None:
        if self.pad_to < 1 or (self.max_length is not None and self.max_length < 1):
            raise ConfigError(f"max_length {self.max_length} and pad_to {self.pad_to} must be at least 1.")

    def __call__(self, batch: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Collate rows.

        Returns:
            ``columns`` [B, L] int64, ``values`` [B, L] (zero where padded) and ``mask`` [B, L] bool, True for genes.
        """
        rows = RowBatch.of(batch)
        lengths = np.diff(rows.row_ptr)
        kept = lengths if self.max_length is None else np.minimum(lengths, self.max_length)
        width = int(-(-int(kept.max(initial=0)) // self.pad_to) * self.pad_to)
        mask = np.arange(width) < kept[:, None]
        within = np.arange(rows.values.size) - np.repeat(rows.row_ptr[:-1], lengths)
        chosen = within < np.repeat(kept, lengths)
        values = computable(rows.values)
        padded_values = np.zeros(mask.shape, dtype=values.dtype)
        padded_columns = np.full(mask.shape, self.pad_column, dtype=np.int64)
        padded_values[mask] = values[chosen]
        padded_columns[mask] = rows.columns[chosen]
        return {
            "columns": torch.from_numpy(padded_columns),
            "values": torch.from_numpy(padded_values),
            "mask": torch.from_numpy(mask),
        }


def _fitting(batch: Sequence[torch.Tensor], num_columns: int) -> RowBatch:
    """The compact batch, if all its columns are below the width."""
    rows = RowBatch.of(batch)
    greatest = int(rows.columns.max(initial=-1))
    if greatest >= num_columns:
        raise DataError(
            f"num_columns is {num_columns}, but the batch has a value in column {greatest}. "
            "Take the width from dataset.number_of_variables()."
        )
    return rows
