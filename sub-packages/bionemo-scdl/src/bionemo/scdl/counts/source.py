# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The counts of a file: which matrix holds them, which of its columns are genes, and whether they are counts."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bionemo.core.errors import DataError, FormatError
from bionemo.scdl.counts.feature_types import GENE_EXPRESSION, select_features
from bionemo.scdl.counts.formats import open_store
from bionemo.scdl.counts.matrices import Matrix, RowBlock, Rows
from bionemo.scdl.counts.open_matrix import portable_matrix
from bionemo.scdl.counts.stores import AnnDataObject, Store
from bionemo.scdl.counts.values import ValueSummary, first_wrong_value


if TYPE_CHECKING:
    import anndata


AUTO = "auto"
"""``raw.X`` if it holds counts, else ``X``, else the layer ``counts``."""
ADVICE = "Name the matrix to take."
_PLACES = ("raw.X", "X", "layers/counts")


class CountSource:
    """Cells by genes of one file or AnnData object; make one with `open_counts`.

    Attributes:
        name: File and matrix, for messages.
        matrix_name: ``raw.X``, ``X`` or ``layers/NAME``.
        shape: Cells and columns that are taken.
        obs: Description of the cells; the index is their ids.
        var: Description of the columns that are taken.
        report: Which features are left out, with numbers; empty where none are.
        summary: What the values seen so far look like.
    """

    def __init__(
        self,
        store: Store,
        matrix_name: str,
        feature_type: str,
        *,
        counts: bool,
        scratch: Path | None = None,
        path: Path | None = None,
    ):
        self._store, self.matrix_name, self._counts, self._path = store, matrix_name, counts, path
        self._matrix: Matrix = store.matrix(matrix_name, scratch)
        self.name, num_cells = self._matrix.name, self._matrix.shape[0]
        var, self.obs = store.var(matrix_name), store.obs()
        if self._matrix.shape != (len(self.obs), len(var)):
            raise FormatError(
                f"{self.name} has shape {self._matrix.shape}, but there are {len(self.obs)} cells and "
                f"{len(var)} genes."
            )
        selection = select_features([var], feature_type, self.name)
        self._kept, self.report = selection.kept, selection.report
        self.var = var if self._kept is None else var.iloc[self._kept]
        self.shape = (num_cells, len(self.var))
        self._column_map: np.ndarray | None = None
        if self._kept is not None:
            self._column_map = np.full(len(var), -1, dtype=np.int64)
            self._column_map[self._kept] = np.arange(len(self._kept))
        self.summary = ValueSummary()

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to an open file: a copy in another process opens the file again."""
        if self._path is None:
            return self.__dict__ | {"_matrix": None}
        return self.__dict__ | {"_store": None, "_matrix": portable_matrix(self._matrix)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._store is None and self._matrix is None:
            assert self._path is not None
            self._store = open_store(self._path)
        if self._matrix is None:
            self._matrix = self._store.matrix(self.matrix_name, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()

    def blocks(self, max_elements: int = 1 << 21, max_rows: int = 1 << 20) -> Iterator[RowBlock]:
        """Iterate over all cells in order, at most so many stored values and cells at a time.

        Raises:
            DataError: A value is no count, and counts were asked for.
            FormatError: The file is damaged.
        """
        blocks = self._matrix.blocks(max_elements, max_rows)
        while (block := self._reading(lambda: next(blocks, None))) is not None:
            values, columns, lengths = block.values, block.columns, block.lengths
            if self._column_map is not None:
                values, columns, lengths = _selected(values, columns, lengths, self._column_map)
            self._check(values, lengths, np.arange(block.first, block.first + lengths.size))
            yield RowBlock(block.first, lengths, values, columns)

    def read(self, rows: np.ndarray) -> Rows:
        """Return cells by their numbers: values [K], columns [K] int32 and row pointers [B + 1] int64.

        Where counts were not asked for, the values are not looked at.

        Raises:
            DataError: A value is no count, and counts were asked for.
            FormatError: The file is damaged.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= self.shape[0]):
            raise IndexError(f"{self.name}: row {int(rows.max())} of {self.shape[0]}.")
        values, columns, row_ptr = self._reading(lambda: self._matrix.read(rows))
        lengths = np.diff(row_ptr)
        if self._column_map is not None:
            values, columns, lengths = _selected(values, columns, lengths, self._column_map)
            columns, row_ptr = columns.astype(np.int32), np.concatenate([[0], np.cumsum(lengths)])
        if self._counts:
            self._check(values, lengths, rows)
        return values, columns, row_ptr

    def graph(self, key: str) -> Any:
        """Return a matrix of ``obsp``, or None where there is none."""
        return self._store.graph(key)

    def _reading(self, read: Any) -> Any:
        try:
            return read()
        except DataError:
            raise
        except (
            OSError,
            RuntimeError,
            KeyError,
            ValueError,
            TypeError,
        ) as error:  # of h5py and zarr, for damaged files
            raise FormatError(f"{self.name}: cannot be read ({error}). The file is damaged.") from error

    def _check(self, values: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> None:
        try:
            found = ValueSummary.of(values)
        except DataError as error:
            raise DataError(f"{self.name}: {error}.") from error
        self.summary.add(found)
        if self._counts and not found.are_counts:
            position = first_wrong_value(values) or 0
            row = int(rows[np.searchsorted(np.cumsum(lengths), position, side="right")])
            raise DataError(
                f"{self.name}: the value {values[position]} in row {row} is no count; expected whole numbers of 0 or "
                f"more. {found}. Choose another matrix."
            )


def open_counts(
    source: "str | os.PathLike[str] | anndata.AnnData",
    *,
    matrix: str = AUTO,
    feature_type: str = GENE_EXPRESSION,
    require_counts: bool = True,
    allow_fractions: bool = False,
    advice: str = ADVICE,
    name: str = "adata",
    scratch_dir: Path | None = None,
) -> CountSource:
    """Open the counts of a file, whatever its format, or of an AnnData object.

    Args:
        source: h5ad file, zarr store, 10x ``.h5`` file, folder or ``matrix.mtx`` of Cell Ranger, or AnnData object.
        matrix: ``"auto"``: ``raw.X`` if it holds counts, else ``X``, else the layer ``counts``. Or a name:
            ``"raw.X"``, ``"X"``, ``"layers/NAME"`` (also ``"NAME"``).
        feature_type: Columns to take where ``var`` has a column of feature types; ``"all"`` for all.
        require_counts: Whether every value that is read must be a count.
        allow_fractions: Whether ``"auto"``, where nothing holds counts, takes the first of the three whose values are
            not negative: estimated counts.
        advice: End of the message where nothing holds counts: how the caller names a matrix.
        name: For messages about an AnnData object.
        scratch_dir: Where a matrix stored by columns may be sorted.

    Raises:
        MissingFileError: There is no such file.
        FormatError: The file is damaged or of another format; the message says of which, and how to convert it.
        DataError: No matrix holds counts (the message lists what each looks like), or the one named is missing.
        MissingDependencyError: Reading the file needs a package that is not installed.
    """
    is_path = isinstance(source, str | os.PathLike)
    store: Store = open_store(Path(source)) if is_path else AnnDataObject(source, name)  # type: ignore[arg-type]
    try:
        chosen = choose_matrix(store, matrix, allow_fractions=allow_fractions, advice=advice)
        path = Path(source).absolute() if is_path else None  # type: ignore[arg-type]
        return CountSource(store, chosen, feature_type, counts=require_counts, scratch=scratch_dir, path=path)
    except BaseException:
        store.close()
        raise


def choose_matrix(store: Store, matrix: str, *, allow_fractions: bool = False, advice: str = ADVICE) -> str:
    """Return the name of the matrix to take; see `open_counts`.

    Raises:
        DataError: There is none; the message lists what each matrix looks like.
    """
    if matrix != AUTO:
        found = next((key for key in (matrix, f"layers/{matrix}") if key in store.matrices), None)
        if found is None:
            raise DataError(f"{store.name}: no matrix {matrix!r}, found {store.matrices}. {advice}")
        return found
    looks = {}
    for key in store.matrices:
        if key in _PLACES:
            looks[key] = _look(store, key)
            if looks[key].are_counts:
                return key
    if allow_fractions:
        estimated = (key for key, look in looks.items() if not look.num_negative and not look.num_not_finite)
        if (first := next(estimated, None)) is not None:
            return first
    raise DataError(f"{store.name}: no counts found in raw.X, X or the layer counts. {list_matrices(store)}. {advice}")


def list_matrices(store: Store) -> str:
    """Return what each matrix of a file looks like, in one line.

    For example ``raw.X: counts, 1 to 812; X: no counts: 0.11 to 7.2, 301 not whole of 301 values looked at``.
    """
    return "; ".join(f"{key}: {_look(store, key)}" for key in store.matrices) or "It has no matrix"


def _look(store: Store, key: str) -> ValueSummary:
    try:
        return store.matrix(key, None).sample()
    except DataError as error:
        if str(error).startswith(store.name):
            raise
        raise type(error)(f"{store.name}: {key}: {error}.") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{store.name}: {key} cannot be read ({error}). The file is damaged.") from error


def _selected(
    values: np.ndarray, columns: np.ndarray, lengths: np.ndarray, column_map: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mapped = column_map[columns]
    is_kept = mapped >= 0
    row_of = np.repeat(np.arange(lengths.size), lengths)
    return values[is_kept], mapped[is_kept], np.bincount(row_of[is_kept], minlength=lengths.size)
