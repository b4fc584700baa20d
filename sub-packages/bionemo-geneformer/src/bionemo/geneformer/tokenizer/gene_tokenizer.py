# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Genes to token ids and back: the vocabulary of a Geneformer."""

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bionemo.core.errors import DataError, FormatError, MissingFileError
from bionemo.core.files import write_json
from bionemo.geneformer.tokenizer.variants import BIONEMO, V1, V2, VARIANTS, Variant
from bionemo.llm.data.label2id_tokenizer import Label2IDTokenizer


class MissingSpecialTokenError(DataError, AssertionError):
    """A vocabulary lacks a special token; also the `AssertionError` that BioNeMo 2 raised."""


class GeneTokenizer(Label2IDTokenizer):
    """A fixed vocabulary of special tokens and Ensembl gene ids.

    Which of the variants it belongs to is told by its special tokens.

    Args:
        vocab: Token to id. Ids go from 0 up without gaps, those of the special tokens first.
        gene_to_ens: Gene symbol to Ensembl id; may name genes that are not in the vocabulary, and may be empty.

    Raises:
        MissingSpecialTokenError: The special tokens are those of no variant.
        DataError: The ids have gaps or repeat, or a gene's id stands before a special token's.
    """

    def __init__(self, vocab: Mapping[str, int], gene_to_ens: Mapping[str, str]):
        super().__init__()
        self.variant = _variant_of(vocab)
        self.vocab = {token: int(token_id) for token, token_id in vocab.items()}
        self.decode_vocab = {token_id: token for token, token_id in self.vocab.items()}
        self.gene_to_ens = dict(gene_to_ens)
        self.ens_to_gene = {ensembl_id: gene for gene, ensembl_id in self.gene_to_ens.items()}
        _check_ids(self.vocab, self.variant)

    @classmethod
    def from_medians_and_genes_dicts(
        cls, median_dict: Mapping[str, float], gene_to_ens: Mapping[str, str], *, variant: Variant = BIONEMO
    ) -> "GeneTokenizer":
        """Build a vocabulary: the variant's special tokens, then the genes in the order of their medians.

        Args:
            median_dict: Ensembl id to median; only the order of the ids counts.
            gene_to_ens: Gene symbol to Ensembl id.
            variant: Whose special tokens.
        """
        tokens = (*variant.special_tokens, *median_dict)
        return cls({token: token_id for token_id, token in enumerate(tokens)}, gene_to_ens)

    @classmethod
    def from_vocab_file(cls, vocab_file: str | os.PathLike[str]) -> "GeneTokenizer":
        """Read what `save_vocab` wrote.

        Raises:
            MissingFileError: There is no such file.
            FormatError: It is no vocabulary.
        """
        path = Path(vocab_file)
        if not path.is_file():
            raise MissingFileError(f"Vocab file {path} not found. Give the file that save_vocab wrote.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(content["vocab"], content["gene_to_ens"])
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{path}: no vocabulary: expected JSON with 'vocab' and 'gene_to_ens' ({error})."
            ) from error

    def save_vocab(self, vocab_file: str | os.PathLike[str]) -> None:
        """Write the vocabulary and the gene symbols as JSON, atomically."""
        write_json(vocab_file, {"vocab": self.vocab, "gene_to_ens": self.gene_to_ens})

    @property
    def class_id(self) -> int | None:
        """Id of the token before the genes, or None where the variant has none."""
        return self._id_or_none(self.variant.cls_token)

    @property
    def eos_id(self) -> int | None:
        """Id of the token after the genes, or None where the variant has none."""
        return self._id_or_none(self.variant.eos_token)

    @property
    def pad_id(self) -> int:
        """Id that fills up a batch."""
        return self.vocab[self.variant.pad_token]

    @property
    def mask_token_id(self) -> int:
        """Mask token id."""
        return self.vocab[self.variant.mask_token]

    @property
    def all_special_ids(self) -> list[int]:
        """Ids that are no genes."""
        return [self.vocab[token] for token in self.variant.special_tokens]

    @property
    def gene_token_ids(self) -> range:
        """Ids of the genes: what random tokens are drawn from."""
        return range(len(self.variant.special_tokens), self.vocab_size)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Digest of tokens and ids: equal for vocabularies under which token ids mean the same."""
        ordered = [token for token, _ in sorted(self.vocab.items(), key=lambda item: item[1])]
        return hashlib.sha256("\n".join(ordered).encode()).hexdigest()

    def token_to_id(self, token: str) -> int | None:
        """Id of a token, or None where the vocabulary does not have it."""
        return self.vocab.get(token)

    def gene_tok_to_ens(self, gene: str) -> str:
        """Ensembl id of a gene symbol.

        Raises:
            DataError: The symbol is unknown.
        """
        return _lookup(self.gene_to_ens, gene)

    def ens_tok_to_gene(self, ens: str) -> str:
        """Gene symbol of an Ensembl id.

        Raises:
            DataError: The id has no symbol.
        """
        return _lookup(self.ens_to_gene, ens)

    def genes_to_enss(self, genes: Iterable[str]) -> list[str]:
        """Ensembl ids of gene symbols.

        Raises:
            DataError: A symbol is unknown.
        """
        return [_lookup(self.gene_to_ens, gene) for gene in genes]

    def enss_to_genes(self, ensembl_ids: Iterable[str]) -> list[str]:
        """Gene symbols of Ensembl ids.

        Raises:
            DataError: An id has no symbol.
        """
        return [_lookup(self.ens_to_gene, ensembl_id) for ensembl_id in ensembl_ids]

    def build_vocab(self, strings: Iterable[str | Sequence[str]]) -> "GeneTokenizer":
        """Refused: the ids of a vocabulary are those that a model was trained with.

        Raises:
            DataError: Always.
        """
        raise DataError("A GeneTokenizer does not grow. Build a new one with from_medians_and_genes_dicts.")

    def _id_or_none(self, token: str | None) -> int | None:
        return None if token is None else self.vocab[token]


def _variant_of(vocab: Mapping[str, int]) -> Variant:
    for variant in (V2, V1, BIONEMO):  # V2 has the tokens of V1 and more
        if set(variant.special_tokens) <= vocab.keys():
            return variant
    expected = "; ".join(f"{variant.name}: {' '.join(variant.special_tokens)}" for variant in VARIANTS.values())
    raise MissingSpecialTokenError(f"The vocabulary must contain all special tokens of one variant ({expected}).")


def _check_ids(vocab: Mapping[str, int], variant: Variant) -> None:
    if sorted(vocab.values()) != list(range(len(vocab))):
        raise DataError(f"The ids of the vocabulary must be 0 to {len(vocab) - 1}, each once.")
    for token in variant.special_tokens:
        if vocab[token] >= len(variant.special_tokens):
            raise DataError(f"Token {token} has the id {vocab[token]}, but special tokens come before the genes.")


def _lookup(table: Mapping[str, str], name: str) -> str:
    if name not in table:
        raise DataError(f"{name} not found")
    return table[name]
