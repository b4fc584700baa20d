# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Columns of a count matrix to genes: the column of ``var`` that identifies genes, and the gene of each column.

Letters: G columns of one gene table.
"""

import logging
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError


logger = logging.getLogger(__name__)

GeneColumns = Mapping[str, Sequence[str]]
"""Text columns of one gene table, by name."""

ID_COLUMNS = (
    "ensembl_id",
    "feature_id",
    "gene_ids",
    "gene_id",
    "ensembl",
    "index",
    "feature_name",
    "gene_symbols",
    "gene_symbol",
    "gene_name",
    "symbol",
    "var_feature_id",
)
"""Columns that may identify genes, the surest first; ``index`` is the frame's own."""

_ENSEMBL = re.compile(r"(ENS[A-Z]*\d{6,})(\.\d+)?", re.IGNORECASE)
_SPECIES = {"MUSG": "mouse", "RNOG": "rat", "DARG": "zebrafish", "MMUG": "macaque", "SSCG": "pig", "GALG": "chicken"}
_TITLE_CASE = re.compile(r"[A-Z][a-z0-9-]*[a-z][a-z0-9-]*")


class GeneResolver:
    """Finds the Ensembl id of the vocabulary that an identifier stands for.

    In this order: as the user's mapping says; as it is; an Ensembl id in upper case and without its version
    (``ensg00000141510.18``); as the symbol dictionary says. Symbols are compared letter for letter: a mouse gene
    ``Trp53`` becomes a human one by the user's mapping only.

    Args:
        known: Ensembl ids of the vocabulary.
        gene_names: Symbol to Ensembl id.
        gene_mapping: Identifier to symbol or Ensembl id.
    """

    def __init__(self, known: Container[str], *, gene_names: Mapping[str, str], gene_mapping: Mapping[str, str]):
        self._known = known
        self._gene_names = gene_names
        self._gene_mapping = gene_mapping

    def resolve(self, gene: str) -> str | None:
        """Ensembl id of the vocabulary, or None where there is none."""
        gene = gene.strip()
        plain = without_version(gene)
        mapped = self._gene_mapping.get(gene) or self._gene_mapping.get(plain)
        for name in (gene, plain) if mapped is None else (mapped, without_version(mapped)):
            if name in self._known:
                return name
            if self._gene_names.get(name) in self._known:
                return self._gene_names[name]
        return None

    def count(self, genes: Sequence[str]) -> int:
        """How many identifiers are known."""
        return sum(self.resolve(gene) is not None for gene in genes)


def without_version(gene: str) -> str:
    """An Ensembl id in upper case and without its version; any other text as it is."""
    match = _ENSEMBL.fullmatch(gene)
    return gene if match is None else match[1].upper()


def choose_id_column(
    columns: Mapping[str, Sequence[str]], resolver: GeneResolver, source: str, *, requested: str | None = None
) -> str:
    """Find the column that identifies the genes: the one with most known identifiers, the surest among equals.

    Args:
        columns: Candidate columns of the gene table.
        resolver: What is known.
        source: Name of the data, for messages.
        requested: The user's choice.

    Raises:
        DataError: There is no such column, or none holds a known gene; the message says what the names look like.
    """
    if requested is not None:
        if requested not in columns:
            raise DataError(f"{source}: no gene column {requested!r}, found {sorted(columns)}.")
        candidates = [requested]
    else:
        candidates = [name for name in ID_COLUMNS if name in columns]
        candidates += [name for name in columns if name not in candidates]
    counts = {name: resolver.count(columns[name]) for name in candidates}
    best = max(candidates, key=counts.__getitem__, default=None)
    if best is None or counts[best] == 0:
        raise DataError(f"{source}: {describe_unknown(columns, candidates)}")
    return best


def describe_unknown(columns: Mapping[str, Sequence[str]], candidates: Sequence[str]) -> str:
    """Return one sentence: why no gene is known, and what to do."""
    if not candidates:
        return "the gene table has no column of names. Add one with Ensembl ids."
    for name in candidates:
        for gene in columns[name]:
            match = re.fullmatch(r"ENS([A-Z]{3}G)\d+(\.\d+)?", gene)
            if match is not None:
                species = _SPECIES.get(match[1], f"another species (ENS{match[1]})")
                return (
                    f"no gene is known: {name!r} holds genes of {species}, such as {gene}, and the vocabulary is "
                    "human. Map them to human genes with --gene-mapping."
                )
    name = candidates[0]
    examples = ", ".join(columns[name][:3])
    symbols = [gene for candidate in candidates for gene in columns[candidate] if gene]
    if sum(_TITLE_CASE.fullmatch(gene) is not None for gene in symbols) > len(symbols) / 2:
        return (
            f"no gene is known: {examples} look like symbols of mouse genes. "
            "Map them to human genes with --gene-mapping."
        )
    return (
        f"no gene is known: {name!r} holds {examples}. Expected Ensembl ids such as ENSG00000141510; "
        "for symbols give --gene-names, for other identifiers --gene-mapping."
    )


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
    warn_of_mixed_identifiers(names, genes, id_column, source)
    logger.info(
        "%s: %d of %d genes are known (by %s), %d columns are added to another one of the same gene",
        source,
        len(genes) - len(dropped),
        len(genes),
        id_column,
        num_summed,
    )
    return GeneTable(genes, id_column, dropped, num_summed)


def warn_of_mixed_identifiers(names: Sequence[str], genes: Sequence[str | None], id_column: str, source: str) -> None:
    """Warn of genes by symbol among Ensembl ids: antibodies and other features are often named like genes."""
    by_symbol = [
        name
        for name, gene in zip(names, genes, strict=True)
        if gene is not None and _ENSEMBL.fullmatch(name.strip()) is None
    ]
    num_ensembl = sum(_ENSEMBL.fullmatch(name.strip()) is not None for name in names)
    if by_symbol and 2 * num_ensembl > len(names):
        logger.warning(
            "%s: %r holds Ensembl ids, but %d features are named like genes (%s); their counts are added to those of "
            "the genes. If they are antibodies or guides, leave them out, or add a column feature_types",
            source,
            id_column,
            len(by_symbol),
            ", ".join(by_symbol[:5]) + (", ..." if len(by_symbol) > 5 else ""),
        )


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
