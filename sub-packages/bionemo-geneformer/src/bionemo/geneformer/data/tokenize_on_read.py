# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Counts as tokens, encoded when they are read: archives, AnnData and h5ad files as `TokenizedCells`.

Letters: C cells of a source, B cells of a request, n tokens of a request.
"""

import functools
import logging
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.geneformer.data.counts import Counts, CountSource, check_counts
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.gene_mapping import GeneResolver, build_gene_table
from bionemo.geneformer.data.rank_encoding import RankEncoder, Tokens
from bionemo.geneformer.data.tokenized_cells import check_indices


logger = logging.getLogger(__name__)

MIN_COVERAGE = 0.3
"""Share of the counts that genes of the vocabulary must hold: whole human transcriptomes have 0.6 to 0.95."""

_SAMPLE_CELLS = 256
_CELLS_PER_READ = 4096


class Coverage(NamedTuple):
    """How much of the counts the vocabulary knows."""

    known: float
    """Sum of the counts of known genes."""

    total: float
    """Sum of all counts."""

    @property
    def share(self) -> float:
        """Known counts by all counts; 0 where there are none."""
        return self.known / self.total if self.total else 0.0


class TokenizedOnRead:
    """Cells of a count matrix, ranked when they are read.

    A few cells, spread over the data, are looked at at once: data that are no counts, or of another species, are
    refused before anything is written.

    Args:
        source: The counts.
        dictionaries: Vocabulary, medians and gene mapping.
        max_length: Longest cell in tokens; the variant's unless given.
        gene_column: Column of the gene table that identifies genes; None: the one with most known identifiers.
        sum_duplicates: Whether several columns may count one gene; their counts are then added.
        allow_fractions: Whether counts may be fractional.
        min_coverage: Share of the counts that known genes must hold at least.

    Raises:
        DataError: The data cannot be tokenized; the message says why and what to do.
    """

    def __init__(
        self,
        source: CountSource,
        dictionaries: Dictionaries,
        *,
        max_length: int | None = None,
        gene_column: str | None = None,
        sum_duplicates: bool = True,
        allow_fractions: bool = False,
        min_coverage: float = MIN_COVERAGE,
    ):
        tokenizer, medians, mapping = dictionaries
        resolver = GeneResolver(
            {gene for gene in medians if gene in tokenizer.vocab},
            gene_names=tokenizer.gene_to_ens,
            gene_mapping=mapping,
        )
        if len(source) == 0:
            raise DataError(f"{source.name}: holds no cells.")
        self.source = source
        self.tables = [
            build_gene_table(columns, resolver, source.name, gene_column=gene_column, sum_duplicates=sum_duplicates)
            for columns in source.gene_tables
        ]
        self.encoder = RankEncoder(tokenizer, medians, self.tables, max_length=max_length)
        self.allow_fractions = allow_fractions
        self.min_coverage = min_coverage
        self._is_checked = False
        self._check_sample()

    @property
    def max_length(self) -> int:
        """Length in tokens that no cell exceeds."""
        return self.encoder.max_length

    @functools.cached_property
    def lengths(self) -> NDArray[np.int64]:
        """[C] int64, tokens of each cell; the counts are read once to know them."""
        lengths = np.empty(len(self), dtype=np.int64)
        for start in range(0, len(self), _CELLS_PER_READ):
            rows = np.arange(start, min(start + _CELLS_PER_READ, len(self)))
            lengths[rows] = self.encoder.count_tokens(self.read_counts(rows))
        self._is_checked = True  # every value was looked at
        return lengths

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens of some cells; see `TokenizedCells`."""
        return self.encode(check_indices(indices, len(self)), np.int64)

    def encode(self, rows: NDArray[np.int64], dtype: type[np.integer] = np.int32) -> Tokens:
        """Tokens of some cells, of an integer type.

        Raises:
            DataError: A value is no count.
        """
        return self.encoder.encode(self.read_counts(rows), dtype)

    def read_counts(self, rows: NDArray[np.int64]) -> Counts:
        """Counts of some cells, checked unless all were checked before.

        Raises:
            DataError: A value is no count.
        """
        counts = self.source.read(rows)
        if not self._is_checked:
            check_counts(counts, rows, self.source.name, allow_fractions=self.allow_fractions)
        return counts

    def coverage(self, counts: Counts) -> Coverage:
        """How much of some counts the vocabulary knows."""
        is_known = self.encoder.columns.gene_idx[counts.columns] >= 0
        return Coverage(
            float(counts.values.sum(where=is_known, dtype=np.float64)), float(counts.values.sum(dtype=np.float64))
        )

    def check_coverage(self, coverage: Coverage) -> None:
        """Refuse counts of which too little is known.

        Raises:
            DataError: The share is below `min_coverage`.
        """
        if coverage.total and coverage.share < self.min_coverage:
            table = self.tables[0]
            raise DataError(
                f"{self.source.name}: the vocabulary knows {coverage.share:.1%} of the counts, less than "
                f"{self.min_coverage:.0%} ({table.num_known} of {len(table.genes)} genes by {table.id_column!r}, "
                f"unknown are {', '.join(table.dropped[:3])}). Check --gene-column, --gene-names and --gene-mapping, "
                "or lower --min-coverage."
            )

    def cells_with_genes(
        self,
        on_empty: Literal["error", "skip"] = "error",
        *,
        lengths: NDArray[np.int64] | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Cells that have a known gene.

        Args:
            on_empty: What to do about a cell that has none.
            lengths: [B] int64, lengths of some cells; None: of all.
            rows: [B] int64, which cells they are; None: all.

        Returns:
            Ascending int64 positions among these cells.

        Raises:
            DataError: A cell has none, and `on_empty` is ``"error"``; or not one of all cells has any.
        """
        lengths = self.lengths if lengths is None else lengths
        is_empty = lengths <= self.encoder.num_framing_tokens
        if rows is None and is_empty.all():
            raise DataError(f"{self.source.name}: none of the {len(is_empty)} cells has counts of known genes.")
        if on_empty == "error" and is_empty.any():
            position = int(np.argmax(is_empty))
            cell = position if rows is None else int(rows[position])
            raise DataError(
                f"{self.source.name}: cell {cell} has no counts of known genes "
                f"({int(is_empty.sum())} such cells). Remove empty cells, or leave them out with --empty-cells skip."
            )
        return np.flatnonzero(~is_empty)

    def _check_sample(self) -> None:
        rows = np.unique(np.linspace(0, len(self) - 1, min(_SAMPLE_CELLS, len(self))).astype(np.int64))
        self.check_coverage(self.coverage(self.read_counts(rows)))
