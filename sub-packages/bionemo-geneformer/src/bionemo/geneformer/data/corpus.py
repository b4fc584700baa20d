# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A corpus of count matrices: normalized values of all genes, block by block, and the medians computed from them."""

import re
from collections.abc import Container, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.core.progress import progress_bar
from bionemo.geneformer.data.counts import Counts, CountSource, check_counts, has_repeats, sum_duplicates
from bionemo.geneformer.data.gene_mapping import GeneResolver, build_gene_table, number_columns
from bionemo.geneformer.data.medians import BYTES_PER_VALUE, GeneValues, Medians, find_medians


TARGET_SUM = 10_000.0
"""Counts of a cell after normalization."""

_ENSEMBL_GENE = re.compile(r"ENS[A-Z]*G[A-Z]?\d{6,}")
_CELLS_PER_READ = 512


class EnsemblGenes:
    """The set of all Ensembl gene ids: what is known where no vocabulary was given."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _ENSEMBL_GENE.fullmatch(name) is not None


class AnyGenes:
    """The set of all names: where identifiers are taken as they are."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name != ""


class Corpus:
    """Count matrices and the genes that they have together.

    Args:
        sources: The matrices.
        known: Genes to take.
        gene_names: Symbol to Ensembl id.
        gene_mapping: Identifier to symbol or Ensembl id.
        gene_column: Column of the gene tables that identifies genes.
        allow_fractions: Whether counts may be fractional.

    Raises:
        DataError: A matrix has no known gene.
    """

    def __init__(
        self,
        sources: Sequence[CountSource],
        *,
        known: Container[str],
        gene_names: Mapping[str, str],
        gene_mapping: Mapping[str, str],
        gene_column: str | None = None,
        allow_fractions: bool = False,
    ):
        resolver = GeneResolver(known, gene_names=gene_names, gene_mapping=gene_mapping)
        self.sources = sources
        self.allow_fractions = allow_fractions
        tables = [
            [
                build_gene_table(columns, resolver, source.name, gene_column=gene_column)
                for columns in source.gene_tables
            ]
            for source in sources
        ]
        found = {gene for group in tables for table in group for gene in table.genes if gene is not None}
        self.genes = sorted(found)
        numbers = {gene: number for number, gene in enumerate(self.genes)}
        self._columns = [number_columns(group, numbers) for group in tables]

    @property
    def num_cells(self) -> int:
        """Cells of all matrices."""
        return sum(map(len, self.sources))

    def find_medians(self, *, max_memory_mb: int) -> Medians:
        """Exact medians of `genes`, in about so much memory beside that of the process.

        Raises:
            DataError: A value is no count.
        """
        max_values = max(max_memory_mb * 1_000_000 // BYTES_PER_VALUE, 256 * len(self.genes))
        return find_medians(self.values, len(self.genes), max_values=max_values)

    def values(self) -> Iterator[GeneValues]:
        """Normalized values above zero, block by block."""
        with progress_bar(total=self.num_cells, unit="cell", description="Reading") as bar:
            for source, columns in zip(self.sources, self._columns, strict=True):
                for start in range(0, len(source), _CELLS_PER_READ):
                    rows = np.arange(start, min(start + _CELLS_PER_READ, len(source)))
                    counts = source.read(rows)
                    check_counts(counts, rows, source.name, allow_fractions=self.allow_fractions)
                    yield self._normalize(counts, columns.gene_idx, has_duplicates=columns.has_duplicates)
                    bar.update(len(rows))

    def _normalize(self, counts: Counts, gene_idx: NDArray[np.int32], *, has_duplicates: bool) -> GeneValues:
        lengths = np.diff(counts.row_ptr)
        totals = np.zeros(len(lengths))
        if len(counts.values):
            exact = counts.values.astype(np.float64)
            totals[lengths > 0] = np.add.reduceat(exact, counts.row_ptr[:-1][lengths > 0])
        if has_duplicates or has_repeats(counts):
            by_gene = sum_duplicates(counts, gene_idx, len(self.genes))
            genes = by_gene.columns
        else:
            by_gene, genes = counts, gene_idx[counts.columns]
        is_kept = (genes >= 0) & (by_gene.values > 0)
        total_of = np.repeat(totals, np.diff(by_gene.row_ptr))[is_kept]
        return GeneValues(genes[is_kept], by_gene.values[is_kept].astype(np.float64) / total_of * TARGET_SUM)


def medians_of_genes(corpus: Corpus, found: Medians, *, min_cells: int = 1) -> dict[str, float]:
    """Name the medians of genes that enough cells express.

    Raises:
        DataError: No gene is left.
    """
    named = {
        gene: float(median)
        for gene, median, num_cells in zip(corpus.genes, found.medians, found.num_cells, strict=True)
        if num_cells >= max(min_cells, 1)
    }
    if not named:
        raise DataError(f"No gene has a count in at least {min_cells} cells. Lower --min-cells.")
    return named
