# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of a count matrix to genes: which gene each column counts, and how many are known.

Letters: G columns of one gene table.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.geneformer.data.gene_ids import GeneResolver, choose_id_column


logger = logging.getLogger(__name__)

GeneColumns = Mapping[str, Sequence[str]]
"""Text columns of one gene table, by name."""


@dataclass(frozen=True)
class GeneTable:
    """The genes that the columns of a matrix count.

    Attributes:
        genes: [G] Ensembl id of the vocabulary, or None for a column that is left out.
        id_column: The column of the gene table that identified them.
        dropped: Identifiers of the columns left out.
        num_summed: Columns whose gene an earlier column counts already.
    """

    genes: list[str | None]
    id_column: str
    dropped: list[str]
    num_summed: int

    @property
    def num_known(self) -> int:
        """Columns whose gene is known."""
        return len(self.genes) - len(self.dropped)


def build_gene_table(
    columns: GeneColumns,
    resolver: GeneResolver,
    source: str,
    *,
    gene_column: str | None = None,
    sum_duplicates: bool = True,
) -> GeneTable:
    """Find the gene of every column.

    Args:
        columns: The gene table.
        resolver: What is known.
        source: Name of the data, for messages.
        gene_column: The column that identifies genes; None: the one with most known identifiers.
        sum_duplicates: Whether several columns may count one gene; their counts are then added.

    Raises:
        DataError: No gene is known, or two columns count one gene and `sum_duplicates` is off.
    """
    id_column = choose_id_column(columns, resolver, source, requested=gene_column)
    names = columns[id_column]
    genes = [resolver.resolve(name) for name in names]
    first_of: dict[str, int] = {}
    num_summed = 0
    for position, gene in enumerate(genes):
        if gene is None:
            continue
        first = first_of.setdefault(gene, position)
        if first != position:
            num_summed += 1
            if not sum_duplicates:
                raise DataError(
                    f"{source}: gene {gene} has two columns, {names[first]!r} (number {first}) and "
                    f"{names[position]!r} (number {position}). Leave --no-sum-duplicates out to add their counts."
                )
    dropped = [name for name, gene in zip(names, genes, strict=True) if gene is None]
    logger.info(
        "%s: %d of %d genes are known (by %s), %d columns are added to another one of the same gene",
        source,
        len(genes) - len(dropped),
        len(genes),
        id_column,
        num_summed,
    )
    return GeneTable(genes, id_column, dropped, num_summed)


@dataclass(frozen=True)
class ColumnTables:
    """What the columns of all gene tables of a data set mean, one table after the other.

    Attributes:
        gene_idx: [sum of G] int32, number of the gene that a column counts, -1 where it is left out.
        offsets: [tables + 1] int64, where each table starts.
        has_duplicates: Whether two columns of one table count one gene.
    """

    gene_idx: NDArray[np.int32]
    offsets: NDArray[np.int64]
    has_duplicates: bool


def number_columns(tables: Sequence[GeneTable], numbers: Mapping[str, int]) -> ColumnTables:
    """Number the genes of gene tables.

    Args:
        tables: The tables of a data set.
        numbers: Ensembl id to number; a gene without one is left out.
    """
    gene_idx = [
        np.array([-1 if gene is None else numbers.get(gene, -1) for gene in table.genes], dtype=np.int32)
        for table in tables
    ]
    kept = [idx[idx >= 0] for idx in gene_idx]
    return ColumnTables(
        gene_idx=np.concatenate([np.empty(0, dtype=np.int32), *gene_idx]),
        offsets=np.cumsum([0, *(len(idx) for idx in gene_idx)], dtype=np.int64),
        has_duplicates=any(len(np.unique(idx)) < len(idx) for idx in kept),
    )
