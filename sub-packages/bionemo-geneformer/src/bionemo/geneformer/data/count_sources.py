# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Where counts come from: an SCDL archive, or whatever `bionemo.scdl.counts` opens: files and AnnData objects.

Letters: C cells of a source, B cells of a request, K stored values, G columns.
"""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError, FormatError, MissingFileError
from bionemo.geneformer.data.counts import Counts, CountSource
from bionemo.geneformer.data.gene_mapping import GeneColumns
from bionemo.scdl import counts as door
from bionemo.scdl.counts.formats import is_archive


if TYPE_CHECKING:
    import anndata
    import pandas as pd

    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


logger = logging.getLogger(__name__)

_ADVICE = (
    "Ranking needs raw counts: name a matrix with counts_layer (--counts-layer), or pass allow_fractional_counts "
    "(--allow-fractional-counts) if these are estimated counts."
)


class MatrixCounts:
    """Counts of one matrix of a file or an AnnData object; make one with `open_counts` or `open_adata`.

    Values are not checked here: `bionemo.geneformer.data.counts.check_counts` does that where they are ranked.

    Args:
        source: The opened matrix.
    """

    def __init__(self, source: door.CountSource):
        self._source = source
        self.name = source.name
        self.gene_tables: list[GeneColumns] = [_text_columns(source.var)]
        if source.report:
            logger.warning(source.report)

    def __len__(self) -> int:
        return len(self._source)

    def read(self, rows: NDArray[np.int64]) -> Counts:
        """Counts of cells; see `CountSource`."""
        return Counts(*self._source.read(rows))

    def obs(self) -> "pd.DataFrame":
        """What is known about the cells."""
        return self._source.obs


class ArchiveCounts:
    """Counts of an SCDL archive.

    Args:
        dataset: The opened archive.
        feature_type: Columns to take; see `open_counts`.

    Raises:
        DataError: No column is of the type.
    """

    def __init__(self, dataset: "SingleCellMemMapDataset", feature_type: str | None = None):
        self.dataset = dataset
        self.name = str(dataset.data_path)
        index = dataset.var_features()
        frames = [dataset.var_frame(block) for block in range(len(index))]
        # Row r belongs to the table whose end is the first one above r.
        self._table_ends = np.asarray(index._cumulative_sum_index[1:], dtype=np.int64)
        self._table_starts = np.cumsum([0, *index.column_dims()], dtype=np.int64)
        selection = door.select_features(frames, feature_type or door.GENE_EXPRESSION, self.name)
        self._new_column: NDArray[np.int32] | None = None
        if selection.kept is not None:
            logger.warning(selection.report)
            self._new_column = np.full(self._table_starts[-1], -1, dtype=np.int32)
            self._new_column[selection.kept] = np.arange(len(selection.kept))
            parts = np.split(self._new_column >= 0, self._table_starts[1:-1])
            frames = [frame.loc[is_kept] for frame, is_kept in zip(frames, parts, strict=True)]
        self.gene_tables: list[GeneColumns] = [_text_columns(frame) for frame in frames]

    @classmethod
    def open(cls, path: str | os.PathLike[str], feature_type: str | None = None) -> "ArchiveCounts":
        """Open an archive read-only."""
        from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset

        return cls(SingleCellMemMapDataset.open(path), feature_type)

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
        if self._new_column is None:
            return Counts(batch.values, columns.astype(np.int32, copy=False), batch.row_ptr)
        columns = self._new_column[columns]
        is_kept = columns >= 0
        row_ptr = np.concatenate([[0], np.cumsum(is_kept)])[batch.row_ptr]
        return Counts(batch.values[is_kept], columns[is_kept], row_ptr)

    def obs(self) -> "pd.DataFrame":
        """What is known about the cells."""
        return self.dataset.obs_frame()


def open_adata(
    adata: "anndata.AnnData",
    *,
    layer: str | None = None,
    feature_type: str | None = None,
    allow_fractions: bool = False,
    name: str = "adata",
) -> CountSource:
    """Take the counts of an AnnData object, in memory or backed by its file; see `open_counts`.

    >>> import anndata, numpy, pandas
    >>> genes = pandas.DataFrame(index=["ENSG00000141510", "ENSG00000012048"])
    >>> open_adata(anndata.AnnData(numpy.array([[0, 3], [2, 0]]), var=genes)).read(numpy.array([1])).values.tolist()
    [2]
    """
    return _through_door(adata, layer, feature_type, allow_fractions=allow_fractions, name=name)


def open_counts(
    path: str | os.PathLike[str],
    *,
    layer: str | None = None,
    feature_type: str | None = None,
    allow_fractions: bool = False,
) -> CountSource:
    """Open counts on disk: an SCDL archive, or any file that :func:`bionemo.scdl.counts.open_counts` reads.

    Args:
        path: ``.h5ad`` file, zarr store, 10x ``.h5`` file, mtx folder, or folder of an archive.
        layer: Not for an archive: which matrix, a key of ``layers``, ``"X"`` or ``"raw.X"``; None: the one that holds
            counts, ``raw.X``, else ``X``, else the layer ``counts``.
        feature_type: For multimodal data: which columns; None: gene expression, ``"all"``: all.
        allow_fractions: Whether, where no matrix holds counts, the first one without negative values is taken.

    Raises:
        MissingFileError: There is no such file or folder.
        FormatError: It is something else; the message says what, and how to convert it.
        DataError: It has no cells, no counts, no such layer, or no feature of the type.
        ConfigError: A layer was asked of an archive.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such file or archive.")
    if path.is_dir() and is_archive(path):
        if layer is not None:
            raise ConfigError(
                f"counts_layer (--counts-layer) {layer}: {path} is an archive, which holds one matrix. Leave it out."
            )
        source: CountSource = ArchiveCounts.open(path, feature_type)
    else:
        source = _through_door(path, layer, feature_type, allow_fractions=allow_fractions)
    if len(source) == 0:
        raise DataError(f"{path}: holds no cells.")
    return source


def _through_door(
    source: "Path | anndata.AnnData",
    layer: str | None,
    feature_type: str | None,
    *,
    allow_fractions: bool,
    name: str = "adata",
) -> MatrixCounts:
    return MatrixCounts(
        door.open_counts(
            source,
            matrix=layer or door.AUTO,
            feature_type=feature_type or door.GENE_EXPRESSION,
            require_counts=False,
            allow_fractions=allow_fractions,
            advice=_ADVICE,
            name=name,
        )
    )


def _text_columns(frame: "pd.DataFrame") -> GeneColumns:
    """The columns of a gene table that hold text, and its index."""
    columns = {"index": [str(name) for name in frame.index]}
    for name in map(str, frame.columns):
        values = frame[name]
        if values.dtype.kind not in "biufcmM":
            columns[name] = values.astype(object).where(values.notna(), "").map(str).tolist()
    return columns
