# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a dataset, one at a time or many in one step."""

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

from bionemo.core.errors import FormatError
from bionemo.scdl.index.row_feature_index import ObservedFeatureIndex, VariableFeatureIndex
from bionemo.scdl.io.row_batch import RowBatch, row_tensor
from bionemo.scdl.io.row_gather import gather_rows


class RowAccess:
    """The reading methods of a dataset; they read the arrays and features that the dataset maps.

    Attributes:
        data: [N] stored values of all rows.
        col_index: [N] their columns.
        row_index: [R + 1] where each row starts and the last one ends.
    """

    data: np.ndarray
    row_index: np.ndarray
    col_index: np.ndarray
    data_path: Any
    _checked_rows: np.ndarray
    _var_feature_index: VariableFeatureIndex
    _obs_feature_index: ObservedFeatureIndex

    def _row(self, index: int) -> int:
        num_rows = len(self.row_index) - 1
        row = int(index)
        if not -num_rows <= row < num_rows:
            raise IndexError(f"Row index {index} is out of bounds for a dataset with {num_rows} rows")
        return row + num_rows if row < 0 else row

    def _stored(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(int(self.row_index[row]), int(self.row_index[row + 1]))
        columns = self.col_index[part]
        if not self._checked_rows[row]:
            self._check_columns(np.array([row]), columns, np.array([0, columns.size]))
        return self.data[part], columns

    def _check_columns(self, rows: np.ndarray, columns: np.ndarray, row_ptr: np.ndarray) -> None:
        """Refuse column numbers beyond the genes of their rows; done once for each row, when it is first read.

        Raises:
            FormatError: The archive is damaged; the message names row and column.
        """
        widths = np.asarray(self._var_feature_index.column_dims(), dtype=np.int64)
        greatest = int(columns.max(initial=0))
        if widths.size and greatest >= widths.min():
            table = np.searchsorted(np.asarray(self._var_feature_index._cumulative_sum_index[1:]), rows, side="right")
            width = np.repeat(widths[np.minimum(table, widths.size - 1)], np.diff(row_ptr))
            wrong = np.flatnonzero(columns >= width)
            if wrong.size:
                row = rows[int(np.searchsorted(row_ptr, wrong[0], side="right")) - 1]
                raise FormatError(
                    f"{self.data_path}: a column number exceeds the gene table: row {row} has a value in column "
                    f"{columns[wrong[0]]} of {width[wrong[0]]}. The archive is damaged; see scdl_info --verify."
                )
        self._checked_rows[rows] = True

    def get_row(
        self,
        index: int,
        return_var_features: bool = False,
        var_feature_names: list[str] | None = None,
        return_obs_features: bool = False,
        obs_feature_names: list[str] | None = None,
    ) -> tuple[tuple[np.ndarray, np.ndarray], list[np.ndarray] | None, list[Any] | None]:
        """One row as it is stored.

        Args:
            index: Row number; negative ones count from the end.
            return_var_features: Whether to return features of its columns.
            var_feature_names: Which ones; all unless given.
            return_obs_features: Whether to return features of the row.
            obs_feature_names: Which ones; all unless given.

        Returns:
            ``(values, columns)`` in the stored dtypes and order, read-only unless the archive was opened with
            ``"r+"``; a list of arrays or None; a list of scalars or None.

        Raises:
            IndexError: There is no such row.
            ValueError: There is no such feature.
        """
        row = self._row(index)
        return (
            self._stored(row),
            self._var_feature_index.lookup(row, var_feature_names)[0] if return_var_features else None,
            self._obs_feature_index.lookup(row, obs_feature_names)[0] if return_obs_features else None,
        )

    def get_row_padded(
        self,
        index: int,
        return_var_features: bool = False,
        var_feature_names: list[str] | None = None,
        return_obs_features: bool = False,
        obs_feature_names: list[str] | None = None,
    ) -> tuple[np.ndarray, list[np.ndarray] | None, list[Any] | None]:
        """One row as a dense float64 vector of its block's width; of duplicate columns the last value counts.

        Arguments and features are those of :meth:`get_row`.
        """
        row = self._row(index)
        wanted = (return_var_features, var_feature_names, return_obs_features, obs_feature_names)
        (values, columns), var_features, obs_features = self.get_row(row, *wanted)
        dense = np.zeros(self._var_feature_index.number_vars_at_row(row), dtype=np.float64)
        dense[columns] = values
        return dense, var_features, obs_features

    def get_row_column(self, index: int, column: int | None, impute_missing_zeros: bool = True) -> Any:
        """First stored value of a row in a column; absent: 0.0, or None without ``impute_missing_zeros``."""
        values, columns = self._stored(self._row(index))
        if column is None:
            return None
        found = np.flatnonzero(columns == column)
        if found.size:
            return values[found[0]]
        return 0.0 if impute_missing_zeros else None

    def __getitem__(self, index: Any) -> Any:
        """One row as a ``[2, nnz]`` tensor of values and columns; a slice or a list of numbers gives a batch."""
        if isinstance(index, slice | Sequence | np.ndarray):
            return self.__getitems__(index)
        values, columns = self._stored(self._row(index))
        return row_tensor(values, columns, self.row_dtype)

    @property
    def row_dtype(self) -> np.dtype:
        """Dtype of the tensors that ``dataset[i]`` returns: NumPy's promotion of the two stored dtypes."""
        return np.promote_types(self.data.dtype, self.col_index.dtype)

    def __getitems__(self, indices: Sequence[int] | np.ndarray | slice) -> RowBatch:
        """Many rows, gathered in one step.

        Args:
            indices: Row numbers in any order, repeats allowed, or a slice.

        Returns:
            A compact batch that is also a list of ``[2, nnz]`` tensors.

        Raises:
            IndexError: There is no such row.
        """
        num_rows = len(self.row_index) - 1
        if isinstance(indices, slice):
            rows = np.arange(*indices.indices(num_rows), dtype=np.int64)
        else:
            rows = np.asarray(indices if len(indices) else np.empty(0, np.int64))
            if rows.dtype.kind not in "iu":
                raise IndexError(f"Row numbers must be integers, but got {rows.dtype}")
            rows = rows.astype(np.int64, copy=False)
            lowest, highest = int(rows.min(initial=0)), int(rows.max(initial=-1))
            if lowest < -num_rows or highest >= num_rows:
                bad = lowest if lowest < -num_rows else highest
                raise IndexError(f"Row index {bad} is out of bounds for a dataset with {num_rows} rows")
            if lowest < 0:
                rows = np.where(rows < 0, rows + num_rows, rows)
        starts = self.row_index[rows].astype(np.int64)
        ends = self.row_index[rows + 1].astype(np.int64)
        values, columns, row_ptr = gather_rows(self.data, self.col_index, starts, ends)
        if not self._checked_rows[rows].all():
            self._check_columns(rows, columns, row_ptr)
        return RowBatch(values, columns, row_ptr, self.row_dtype)

    def prefetch_rows(self, start: int, stop: int) -> None:
        """Ask the system to read rows ``start`` to ``stop`` into its cache, without waiting."""
        first, last = int(self.row_index[start]), int(self.row_index[stop])
        for array in (self.data, self.col_index):
            advise_needed(array, first, last)


def advise_needed(array: np.ndarray, first: int, last: int) -> None:
    """Have the system read items ``first`` to ``last`` of a mapped array in the background."""
    mapping: Any = array
    while isinstance(mapping, np.ndarray):
        if isinstance(mapping, np.memmap):
            mapping = mapping._mmap  # type: ignore[attr-defined]  # NumPy's only way to the mapping itself
            break
        mapping = mapping.base
    if not isinstance(mapping, mmap.mmap) or last <= first or not hasattr(mmap, "MADV_WILLNEED"):
        return
    start = first * array.itemsize // mmap.PAGESIZE * mmap.PAGESIZE
    mapping.madvise(mmap.MADV_WILLNEED, start, last * array.itemsize - start)
