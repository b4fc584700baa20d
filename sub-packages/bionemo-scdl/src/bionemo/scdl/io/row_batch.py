# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A batch of rows in compact form that passes for a list of tensors.

``DataLoader`` hands what ``__getitems__`` returns to the collate function. Ours read the three arrays of a
:class:`RowBatch` and never touch single rows; any other function finds a list of ``[2, nnz]`` tensors, which are made
when the first of them is asked for.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch


def row_tensor(values: np.ndarray, columns: np.ndarray, dtype: np.dtype) -> torch.Tensor:
    """One row as a ``[2, nnz]`` tensor of values and columns.

    Args:
        values: [K] values.
        columns: [K] column numbers.
        dtype: Of the tensor: NumPy's promotion of the archive's two dtypes.
    """
    pair = np.empty((2, len(values)), dtype=dtype)
    pair[0] = values
    pair[1] = columns
    return torch.from_numpy(pair)


class _Placeholder(torch.Tensor):
    """Stands in a :class:`RowBatch` for rows not made yet.

    torch's own functions read the items of a list directly, past the list's methods. They find this tensor, notice
    that it overrides torch functions, and call back; then the rows are made and the function is called again.
    """

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def filled(value: Any) -> Any:
            return list(value) if isinstance(value, RowBatch) else value

        return func(*map(filled, args), **{name: filled(value) for name, value in (kwargs or {}).items()})


_PLACEHOLDER = torch.Tensor._make_subclass(_Placeholder, torch.empty(0))


class RowBatch(list):  # type: ignore[type-arg]  # a list of tensors
    """Rows of an archive, compact until somebody asks for one of them.

    Attributes:
        values: [K] values of all rows, in the archive's dtype.
        columns: [K] int32 (or int64) column numbers.
        row_ptr: [B + 1] int64, where each row starts and the last one ends.
        row_dtype: Dtype of the tensors that the rows become.
        is_compact: Whether the arrays still describe the list; False once the list was changed.
    """

    __slots__ = ("_is_filled", "columns", "is_compact", "row_dtype", "row_ptr", "values")

    def __init__(self, values: np.ndarray, columns: np.ndarray, row_ptr: np.ndarray, row_dtype: np.dtype) -> None:
        """Take the arrays over; they must not be changed afterwards."""
        super().__init__([_PLACEHOLDER] * (len(row_ptr) - 1))
        self.values, self.columns, self.row_ptr, self.row_dtype = values, columns, row_ptr, row_dtype
        self.is_compact, self._is_filled = True, False

    @classmethod
    def of(cls, rows: "Sequence[torch.Tensor]") -> "RowBatch":
        """The compact form of any batch: of one that ``__getitems__`` returned, or of ``[2, nnz]`` tensors."""
        if isinstance(rows, RowBatch) and rows.is_compact:
            return rows
        pairs = [row.numpy() for row in rows]
        joined = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), np.float32)
        row_ptr = np.zeros(len(pairs) + 1, dtype=np.int64)
        np.cumsum([pair.shape[1] for pair in pairs], out=row_ptr[1:])
        columns = joined[1].astype(np.int64)
        if columns.max(initial=0) < 2**31:
            columns = columns.astype(np.int32)
        return cls(np.ascontiguousarray(joined[0]), columns, row_ptr, joined.dtype)

    def split(self, sizes: Sequence[int]) -> "list[RowBatch]":
        """Cut a compact batch into batches of so many rows each, over the same memory."""
        parts, first = [], 0
        for size in sizes:
            row_ptr = self.row_ptr[first : first + size + 1]
            stored = slice(int(row_ptr[0]), int(row_ptr[-1]))
            parts.append(RowBatch(self.values[stored], self.columns[stored], row_ptr - row_ptr[0], self.row_dtype))
            first += size
        return parts

    def _fill(self) -> None:
        if self._is_filled:
            return
        self._is_filled = True
        bounds = self.row_ptr.tolist()
        rows = [
            row_tensor(self.values[start:end], self.columns[start:end], self.row_dtype)
            for start, end in pairwise(bounds)
        ]
        super().__setitem__(slice(None), rows)

    def __getitem__(self, position: Any) -> Any:
        self._fill()
        return super().__getitem__(position)

    def __iter__(self) -> Iterator[torch.Tensor]:
        self._fill()
        return super().__iter__()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.is_compact:
            return RowBatch, (self.values, self.columns, self.row_ptr, self.row_dtype)
        return list, (list(self),)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.__reduce__()


def _after_filling(name: str, *, changes: bool) -> Any:
    method = getattr(list, name)

    def call(self: RowBatch, *args: Any, **kwargs: Any) -> Any:
        self._fill()
        if changes:
            self.is_compact = False
        return method(self, *args, **kwargs)

    call.__name__ = name
    return call


for _name in ("__add__", "__mul__", "__rmul__", "__contains__", "__eq__", "__reversed__", "__repr__", "copy", "count"):
    setattr(RowBatch, _name, _after_filling(_name, changes=False))
RowBatch.index = _after_filling("index", changes=False)  # type: ignore[method-assign]
for _name in ("__setitem__", "__delitem__", "__iadd__", "__imul__", "append", "clear", "extend", "insert", "pop"):
    setattr(RowBatch, _name, _after_filling(_name, changes=True))
for _name in ("remove", "reverse", "sort"):
    setattr(RowBatch, _name, _after_filling(_name, changes=True))
