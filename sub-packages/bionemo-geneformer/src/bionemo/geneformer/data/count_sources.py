# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Where counts come from: an SCDL archive, an AnnData object, or an h5ad file read as it is needed.

Letters: C cells of a source, B cells of a request, K stored values.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError, FormatError, MissingFileError
from bionemo.geneformer.data.counts import Counts, CountSource
from bionemo.geneformer.data.feature_types import select_features
from bionemo.geneformer.data.gene_mapping import GeneColumns
from bionemo.scdl.io.row_gather import gather_rows


if TYPE_CHECKING:
    import anndata
    import pandas as pd

    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


class AnnDataCounts:
    """Counts of an AnnData object, in memory or backed by its file.

    Args:
        adata: Cells by genes.
        layer: Key of ``layers``, or ``"X"``; None: the raw matrix where there is one, else ``X``.
        name: For messages.

    Raises:
        DataError: There is no such layer.
        FormatError: The index pointers of a sparse matrix overflowed or are damaged.
    """

    def __init__(self, adata: "anndata.AnnData", *, layer: str | None = None, name: str = "adata"):
        self._adata = adata
        matrix, var, place = _choose_matrix(adata, layer, name)
        self.name = f"{name}: {place}"
        self.gene_tables: list[GeneColumns] = [_text_columns(var)]
        _check_pointers(matrix, self.name)
        self._matrix = _by_rows(matrix)

    def __len__(self) -> int:
        return int(self._matrix.shape[0])

    def read(self, rows: NDArray[np.int64]) -> Counts:
        """Counts of cells; see `CountSource`."""
        from scipy import sparse

        rows = np.asarray(rows, dtype=np.int64)
        matrix = self._matrix
        if isinstance(matrix, (sparse.csr_matrix, sparse.csr_array)):
            starts, ends = matrix.indptr[rows].astype(np.int64), matrix.indptr[rows + 1].astype(np.int64)
            return Counts(*gather_rows(matrix.data, matrix.indices, starts, ends))
        part = _take(matrix, rows)
        if not sparse.issparse(part):
            dense = np.asarray(part)
            row_of, columns = np.nonzero(dense)
            row_ptr = np.concatenate([[0], np.cumsum(np.bincount(row_of, minlength=len(rows)))])
            return Counts(dense[row_of, columns], columns.astype(np.int32), row_ptr)
        part = part.tocsr()
        return Counts(part.data, part.indices.astype(np.int32, copy=False), part.indptr.astype(np.int64))

    def obs(self) -> "pd.DataFrame":
        """What is known about the cells."""
        return self._adata.obs


class ArchiveCounts:
    """Counts of an SCDL archive.

    Args:
        dataset: The opened archive.
    """

    def __init__(self, dataset: "SingleCellMemMapDataset"):
        self.dataset = dataset
        self.name = str(dataset.data_path)
        index = dataset.var_features()
        self.gene_tables: list[GeneColumns] = [_text_columns(dataset.var_frame(b)) for b in range(len(index))]
        # Row r belongs to the table whose end is the first one above r.
        self._table_ends = np.asarray(index._cumulative_sum_index[1:], dtype=np.int64)
        self._table_starts = np.cumsum([0, *index.column_dims()], dtype=np.int64)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "ArchiveCounts":
        """Open an archive read-only."""
        from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset

        return cls(SingleCellMemMapDataset.open(path))

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, rows: NDArray[np.int64]) -> Counts:
        """Counts of cells; see `CountSource`."""
        rows = np.asarray(rows, dtype=np.int64)
        batch = self.dataset.__getitems__(rows)
        columns = batch.columns
        if len(self._table_ends) == 1:
            in_range = int(columns.max(initial=-1)) < self._table_starts[-1]
        else:
            table = np.repeat(np.searchsorted(self._table_ends, rows, side="right"), np.diff(batch.row_ptr))
            columns = columns + self._table_starts[table]
            in_range = bool((columns < self._table_starts[table + 1]).all())
        if not in_range:
            raise FormatError(
                f"{self.name}: a column number exceeds the gene table. Check it with scdl_info --verify."
            )
        return Counts(batch.values, columns.astype(np.int32, copy=False), batch.row_ptr)

    def obs(self) -> "pd.DataFrame":
        """What is known about the cells."""
        return self.dataset.obs_frame()


def open_adata(
    adata: "anndata.AnnData", *, layer: str | None = None, feature_type: str | None = None, name: str = "adata"
) -> CountSource:
    """Take the counts of an AnnData object; see `open_counts`."""
    return select_features(AnnDataCounts(adata, layer=layer, name=name), feature_type)


def open_counts(
    path: str | os.PathLike[str], *, layer: str | None = None, feature_type: str | None = None
) -> CountSource:
    """Open an h5ad file or an SCDL archive.

    Args:
        path: ``.h5ad`` file, or folder of an archive.
        layer: For an h5ad file: which matrix; see `AnnDataCounts`.
        feature_type: For multimodal data: which columns; see `select_features`.

    Raises:
        MissingFileError: There is no such file or folder.
        FormatError: It is neither.
        DataError: It has no cells, or no such layer.
        ConfigError: A layer was asked of an archive.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such file or archive.")
    if path.is_dir():
        if layer is not None:
            raise ConfigError(
                f"counts_layer (--counts-layer) {layer}: {path} is an archive, which holds one matrix. Leave it out."
            )
        source = select_features(ArchiveCounts.open(path), feature_type)
    else:
        source = open_adata(_read_h5ad(path), layer=layer, feature_type=feature_type, name=str(path))
    if len(source) == 0:
        raise DataError(f"{path}: holds no cells.")
    return source


def _read_h5ad(path: Path) -> "anndata.AnnData":
    import anndata

    try:
        return anndata.read_h5ad(path, backed="r")
    except Exception as error:
        raise FormatError(f"{path}: not read as an h5ad file ({type(error).__name__}: {error}).") from error


def _choose_matrix(adata: "anndata.AnnData", layer: str | None, name: str) -> tuple[Any, Any, str]:
    """The matrix, the frame of its genes, and where it is."""
    if layer is not None and layer != "X":
        if layer not in adata.layers:
            raise DataError(f"{name}: no layer {layer!r}, found {['X', *adata.layers]}.")
        return adata.layers[layer], adata.var, f"layers/{layer}"
    if layer is None and adata.raw is not None:
        # var is the richer description, but only where it is about the same genes in the same order.
        var = adata.raw.var
        return adata.raw.X, adata.var if adata.var.index.equals(var.index) else var, "raw.X"
    if adata.X is None:
        raise DataError(
            f"{name}: has no X. Name a matrix with counts_layer (--counts-layer); there are {list(adata.layers)}."
        )
    return adata.X, adata.var, "X"


def _check_pointers(matrix: Any, name: str) -> None:
    """Refuse a sparse matrix whose pointers lead elsewhere: 32-bit pointers wrap around at 2**31 values."""
    group = getattr(matrix, "group", None)  # of a matrix that is backed by a file
    if group is None and not hasattr(matrix, "indptr"):
        return
    pointers = np.asarray(matrix.indptr if group is None else group["indptr"][:]).astype(np.int64)
    num_values = len(matrix.data) if group is None else group["data"].shape[0]
    if pointers[0] != 0 or pointers[-1] > num_values or (np.diff(pointers) < 0).any():
        raise FormatError(
            f"{name}: the index pointers do not fit the {num_values:,} values, as where 32-bit pointers overflowed. "
            "Write the matrix again with 64-bit pointers."
        )


def _by_rows(matrix: Any) -> Any:
    """A matrix whose rows can be taken fast: everything but column-wise storage as it is."""
    from scipy import sparse

    if isinstance(matrix, (sparse.csc_matrix, sparse.csc_array)):
        return matrix.tocsr()
    if getattr(matrix, "format", None) == "csc" and hasattr(matrix, "to_memory"):  # backed by a file
        return matrix.to_memory().tocsr()
    return matrix


def _take(matrix: Any, rows: NDArray[np.int64]) -> Any:
    """Rows of a dense matrix or of one in a file: a run of rows as a slice, others sorted, each once."""
    if not len(rows):
        return matrix[0:0]
    if np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return matrix[int(rows[0]) : int(rows[0]) + len(rows)]
    wanted, places = np.unique(rows, return_inverse=True)
    part = matrix[wanted]
    return (part.tocsr() if hasattr(part, "tocsr") else part)[places]


def _text_columns(frame: "pd.DataFrame") -> GeneColumns:
    """The columns of a gene table that hold text, and its index."""
    columns = {"index": [str(name) for name in frame.index]}
    for name in map(str, frame.columns):
        values = frame[name]
        if values.dtype.kind not in "biufcmM":
            columns[name] = values.astype(object).where(values.notna(), "").map(str).tolist()
    return columns
