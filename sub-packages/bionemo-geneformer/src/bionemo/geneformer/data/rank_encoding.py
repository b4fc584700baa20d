# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Rank-value encoding: a cell is the list of its genes, from most to least expressed relative to the corpus.

A gene's value is its count, divided by the cell's total and by the gene's median over a corpus. The cell's total does
not change the order and is left out. Each stored count becomes one 64-bit key, the inverted bits of the float32 value
above the token id: sorting the keys of a cell orders its genes by descending value and, among equal values, by
ascending token id. Columns that are left out get the value 0 and come last.

Source: Theodoris et al. 2023, Methods, rank value encoding.

Letters: C cells of a data set, B cells of a request, K stored values, G columns, n tokens.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.buffers import BATCHES
from bionemo.core.errors import ConfigError
from bionemo.geneformer.data.counts import Counts, has_repeats, sum_duplicates
from bionemo.geneformer.data.gene_mapping import GeneTable, number_columns
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.scdl.io.row_chunks import row_chunks


_BLOCK_VALUES = 2**16
"""Stored values ranked together: the scratch arrays stay in the processor's cache."""


class Tokens(NamedTuple):
    """Encoded cells."""

    tokens: NDArray[Any]
    """[n] int32 or int64, the cells one after the other."""

    lengths: NDArray[np.int64]
    """[B] int64, tokens of each; a cell without any known gene holds special tokens alone."""


class RankEncoder:
    """Turns counts into tokens.

    Args:
        tokenizer: The vocabulary.
        medians: Ensembl id to median; a gene without one is left out.
        tables: Gene tables of the data set.
        max_length: Longest cell in tokens, special ones included; the variant's unless given.

    Raises:
        ConfigError: `max_length` leaves no room for a gene.
    """

    def __init__(
        self,
        tokenizer: GeneTokenizer,
        medians: Mapping[str, float],
        tables: Sequence[GeneTable],
        *,
        max_length: int | None = None,
    ):
        self.tokenizer = tokenizer
        self.max_length = tokenizer.variant.max_length if max_length is None else max_length
        self.max_genes = self.max_length - tokenizer.variant.num_framing_tokens
        if self.max_genes < 1:
            raise ConfigError(f"max_length must leave room for a gene, found {self.max_length}.")
        token_of = {gene: tokenizer.vocab[gene] for gene in medians if gene in tokenizer.vocab}
        self.columns = number_columns(tables, token_of)
        inverse_medians = np.zeros(tokenizer.vocab_size, dtype=np.float32)
        for gene, token in token_of.items():
            inverse_medians[token] = 1.0 / medians[gene]
        # By column, or by token where several columns had to be added first.
        self._column_keys = _KeyTable(
            np.maximum(self.columns.gene_idx, 0), self.columns.gene_idx >= 0, inverse_medians
        )
        self._token_keys = _KeyTable(np.arange(tokenizer.vocab_size), inverse_medians > 0, inverse_medians)

    @property
    def num_framing_tokens(self) -> int:
        """Special tokens around the genes of every cell: the length of a cell without genes."""
        return self.tokenizer.variant.num_framing_tokens

    def encode(self, counts: Counts, dtype: type[np.integer] = np.int32) -> Tokens:
        """Rank the genes of cells.

        Args:
            counts: Checked counts, by column.
            dtype: Of the tokens.
        """
        row_ptr = counts.row_ptr
        longest = np.minimum(np.diff(row_ptr), self.max_genes) + self.num_framing_tokens
        tokens = BATCHES.empty(int(longest.sum()), dtype)
        lengths = np.empty(len(row_ptr) - 1, dtype=np.int64)
        end = 0
        for rows in row_chunks(row_ptr, _BLOCK_VALUES):
            end = self._encode_block(_slice(counts, rows), tokens, end, lengths[rows])
        return Tokens(tokens[:end], lengths)

    def count_tokens(self, counts: Counts) -> NDArray[np.int64]:
        """[B] int64, how many tokens each cell has, without ranking them."""
        lengths = np.empty(len(counts.row_ptr) - 1, dtype=np.int64)
        for rows in row_chunks(counts.row_ptr, _BLOCK_VALUES):
            block, table = self._by_gene(_slice(counts, rows))
            _, kept = table.keys(block)
            lengths[rows] = np.minimum(kept, self.max_genes) + self.num_framing_tokens
        return lengths

    def _by_gene(self, counts: Counts) -> tuple[Counts, "_KeyTable"]:
        if self.columns.has_duplicates or has_repeats(counts):
            return sum_duplicates(counts, self.columns.gene_idx, self.tokenizer.vocab_size), self._token_keys
        return counts, self._column_keys

    def _encode_block(self, counts: Counts, tokens: NDArray[Any], end: int, lengths: NDArray[np.int64]) -> int:
        """Write the tokens of a block from ``tokens[end]`` on; returns where they end."""
        block, table = self._by_gene(counts)
        keys, kept = table.keys(block)
        kept = np.minimum(kept, self.max_genes)
        lengths[:] = kept + self.num_framing_tokens
        ranked = keys.view(np.int32)[::2]  # the lower half of each key, the token
        cls_id, eos_id = self.tokenizer.class_id, self.tokenizer.eos_id
        starts = block.row_ptr.tolist()
        for start, stop, num_genes in zip(starts, starts[1:], kept.tolist(), strict=False):
            keys[start:stop].sort()
            if cls_id is not None:
                tokens[end] = cls_id
                end += 1
            tokens[end : end + num_genes] = ranked[start : start + num_genes]
            end += num_genes
            if eos_id is not None:
                tokens[end] = eos_id
                end += 1
        return end


class _KeyTable:
    """What a column contributes to the key of a count: its token below, and above the inverse of its gene's median.

    The halves are those of a little-endian machine, like the archives.
    """

    def __init__(self, tokens: NDArray[np.integer], is_kept: NDArray[np.bool_], inverse_medians: NDArray[np.float32]):
        self._entries = tokens.astype(np.uint64)
        self._entries.view(np.float32)[1::2] = np.where(is_kept, inverse_medians[tokens], np.float32(0))

    def keys(self, counts: Counts) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """[K] uint64 keys, the smallest for the highest value, and [B] int64 how many of each cell count."""
        out = BATCHES.empty(len(counts.columns), np.uint64)
        # Without "clip" NumPy would fill a copy of `out`; the sources check the columns.
        keys: NDArray[np.uint64] = np.take(self._entries, counts.columns, out=out, mode="clip")
        values, bits = keys.view(np.float32)[1::2], keys.view(np.uint32)[1::2]
        values *= counts.values.astype(np.float32, copy=False)
        is_kept = bits != 0
        kept = np.diff(counts.row_ptr)
        if not is_kept.all():
            bounds = counts.row_ptr.tolist()
            kept = np.array([np.count_nonzero(is_kept[a:b]) for a, b in pairwise(bounds)], dtype=np.int64)
        np.invert(bits, out=bits)
        return keys, kept


def _slice(counts: Counts, rows: slice) -> Counts:
    start, stop = int(counts.row_ptr[rows.start]), int(counts.row_ptr[rows.stop])
    row_ptr = counts.row_ptr[rows.start : rows.stop + 1] - start
    return Counts(counts.values[start:stop], counts.columns[start:stop], row_ptr)
