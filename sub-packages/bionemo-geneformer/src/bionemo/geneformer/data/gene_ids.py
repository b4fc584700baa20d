# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""From the identifiers that a data set uses to those of the vocabulary, and what to say where none fits."""

import re
from collections.abc import Container, Mapping, Sequence

from bionemo.core.errors import DataError


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
    """Say in one sentence why no gene is known, and what to do."""
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
