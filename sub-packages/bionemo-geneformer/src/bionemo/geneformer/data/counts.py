# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Counts of some cells in CSR form, and the checks that they are counts.

Letters: B cells, K stored values.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.geneformer.data.gene_mapping import GeneColumns
from bionemo.scdl.counts.values import LOG_MAXIMUM, first_wrong_value


if TYPE_CHECKING:
    import pandas as pd


class Counts(NamedTuple):
    """Stored counts of some cells, one cell after the other."""

    values: NDArray[np.number]
    """[K] counts, none missing."""

    columns: NDArray[np.int32]
    """[K] int32, column of each in the concatenated gene tables of the data set."""

    row_ptr: NDArray[np.int64]
    """[B + 1] int64, cell b is at ``row_ptr[b]:row_ptr[b + 1]``."""


class CountSource(Protocol):
    """Cells by genes, read in batches of cells."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def gene_tables(self) -> list[GeneColumns]:
        """The gene tables; an archive of several data sets may have several."""

    def __len__(self) -> int:
        """C, the number of cells."""

    def read(self, rows: NDArray[np.int64]) -> Counts:
        """Counts of cells, their columns numbered over the gene tables one after the other."""

    def obs(self) -> "pd.DataFrame":
        """What is known about the cells; the index is their ids."""


def check_counts(counts: Counts, rows: NDArray[np.int64], source: str, *, allow_fractions: bool = False) -> None:
    """Refuse values that are no raw counts.

    Args:
        counts: What was read.
        rows: [B] int64, which cells of the data set they are, for messages.
        source: Name of the data, for messages.
        allow_fractions: Whether estimated counts, such as those after removal of ambient RNA, are let through.

    Raises:
        DataError: A value is negative, missing, infinite or, unless allowed, fractional.
    """
    values = counts.values
    position = first_wrong_value(values, allow_fractions=allow_fractions)
    if position is None:
        return
    cell = int(rows[np.searchsorted(counts.row_ptr, position, side="right") - 1])
    value = values[position]
    place = f"{source}: cell {cell} has the value {value:.6g}"
    if not np.isfinite(value):
        raise DataError(f"{place}. Every stored count must be a number.")
    if value < 0:
        raise DataError(f"{place}. Raw counts are not negative: was it scaled?")
    kind = "log-normalized" if float(values.max()) < LOG_MAXIMUM else "normalized"
    raise DataError(
        f"{place}: the data look {kind}, and ranking needs raw counts. "
        "Choose another matrix with counts_layer (--counts-layer), or pass allow_fractional_counts "
        "(--allow-fractional-counts) if these are estimated counts."
    )


def sum_duplicates(counts: Counts, gene_idx: NDArray[np.int32], num_genes: int) -> Counts:
    """Number genes instead of columns, and add the counts of columns that count the same gene.

    Args:
        counts: By column.
        gene_idx: [G] int32, gene of each column, -1 for columns to leave out.
        num_genes: Genes there are.

    Returns:
        Counts by gene, each gene once in a cell.
    """
    from scipy.sparse import csr_matrix

    genes = gene_idx[counts.columns]
    is_kept = genes >= 0
    row_ptr = np.concatenate([[0], np.cumsum(is_kept)])[counts.row_ptr]
    values = counts.values[is_kept]
    exact = values.astype(np.float64) if values.dtype.kind == "f" else values.astype(np.int64)
    matrix = csr_matrix((exact, genes[is_kept], row_ptr), shape=(len(row_ptr) - 1, num_genes))
    matrix.sum_duplicates()
    return Counts(matrix.data, matrix.indices.astype(np.int32, copy=False), matrix.indptr.astype(np.int64))


def has_repeats(counts: Counts) -> bool:
    """Whether a cell may store a column twice: true unless its columns ascend strictly."""
    ascends = counts.columns[1:] > counts.columns[:-1]
    first_of_rows = counts.row_ptr[1:-1]
    inner = (first_of_rows > 0) & (first_of_rows < len(counts.columns))
    ascends[first_of_rows[inner] - 1] = True
    return not ascends.all()
