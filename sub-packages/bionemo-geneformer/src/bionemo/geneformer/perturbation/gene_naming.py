# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Between the genes that a user names and the tokens of a model."""

from collections.abc import Sequence

from bionemo.core.config_fields import closest
from bionemo.core.errors import DataError
from bionemo.geneformer.data.gene_mapping import GeneResolver, without_version
from bionemo.geneformer.perturbation.shift_table import SEPARATOR, GeneLabel
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer


class GeneNaming:
    """Names of the genes of a vocabulary.

    Args:
        tokenizer: The vocabulary with its gene symbols.
    """

    def __init__(self, tokenizer: GeneTokenizer) -> None:
        self._tokenizer = tokenizer
        genes = [tokenizer.decode_vocab[token] for token in tokenizer.gene_token_ids]
        self._resolver = GeneResolver(frozenset(genes), gene_names=tokenizer.gene_to_ens, gene_mapping={})

    def tokens(self, genes: Sequence[str]) -> tuple[int, ...]:
        """Tokens of genes given as Ensembl ids or symbols.

        Raises:
            DataError: One is not in the vocabulary, or two are the same gene.
        """
        found: dict[str, str] = {}
        for gene in genes:
            ensembl_id = self._resolver.resolve(gene)
            if ensembl_id is None:
                raise DataError(f"gene {gene}: is not in the model's vocabulary.{self._hint(gene)}")
            if ensembl_id in found:
                raise DataError(f"genes {found[ensembl_id]} and {gene}: are the same, {ensembl_id}. Name it once.")
            found[ensembl_id] = gene
        return tuple(self._tokenizer.vocab[ensembl_id] for ensembl_id in found)

    def _hint(self, gene: str) -> str:
        if not self._tokenizer.gene_to_ens and without_version(gene) == gene:
            return " It knows no gene symbols: give an Ensembl id, or load symbols with gene_names (--gene-names)."
        return closest(gene, [*self._tokenizer.gene_to_ens, *self._tokenizer.vocab])

    def gene(self, token: int) -> str:
        """Ensembl id of a token."""
        return self._tokenizer.decode_vocab[token]

    def gene_name(self, token: int) -> str:
        """Symbol of a token, or its Ensembl id where there is none."""
        gene = self.gene(token)
        return self._tokenizer.ens_to_gene.get(gene, gene)

    def label(self, tokens: tuple[int, ...]) -> GeneLabel:
        """Names of genes that are perturbed together."""
        parts = [(self.gene(token), self.gene_name(token), str(token)) for token in tokens]
        return GeneLabel(*(SEPARATOR.join(column) for column in zip(*parts, strict=True)))
