# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cells as packed batches, masked for pretraining or as they are."""

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError
from bionemo.geneformer.data.tokenized_cells import TokenizedCells
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.llm.data.masking import PackMasking
from bionemo.llm.data.packed_dataset import PackedDataset, Samples


class PackedCellDataset(PackedDataset):
    """Packs of a `TokenBudgetBatchSampler` to batches of cells: ``dataset[pack]``.

    A cell longer than `max_seq_length` keeps its highest ranked genes, and its end token where the variant has one.

    Args:
        cells: Tokenized cells.
        tokenizer: The vocabulary that they are of.
        subset: [n] int64, the cells that belong to this data set; None: all.
        max_seq_length: Longest sample in tokens, special tokens included.
        max_tokens: Token budget of a pack, the size of every batch.
        masking: How to mask (`build_masking`), or None for batches without labels.
        sequences_multiple: The number of cells in a batch is rounded up to a multiple of this.

    Raises:
        ConfigError: A size is impossible.
        DataError: There are no cells.
    """

    def __init__(
        self,
        cells: TokenizedCells,
        tokenizer: GeneTokenizer,
        *,
        subset: NDArray[np.int64] | None = None,
        max_seq_length: int,
        max_tokens: int,
        masking: PackMasking | None = None,
        sequences_multiple: int = 8,
    ):
        if max_seq_length <= tokenizer.variant.num_framing_tokens:
            raise ConfigError(f"max_seq_length must leave room for a gene, found {max_seq_length}.")
        super().__init__(
            len(cells),
            subset=subset,
            max_seq_length=max_seq_length,
            max_tokens=max_tokens,
            pad_token_id=tokenizer.pad_id,
            masking=masking,
            sequences_multiple=sequences_multiple,
        )
        self.cells = cells
        self.tokenizer = tokenizer

    def record_lengths(self, epoch: int, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] int64, tokens of each cell after truncation; the same in every epoch."""
        return np.minimum(self.cells.lengths[records], self.max_seq_length)

    def read_records(self, epoch: int, records: NDArray[np.int64]) -> Samples:
        """The cells, truncated.

        Raises:
            DataError: A token is not in the vocabulary.
        """
        tokens, lengths = self.cells.read(records)
        # As unsigned numbers negative ones are too large as well.
        if len(tokens) and int(tokens.view(np.uint64).max()) >= self.tokenizer.vocab_size:
            raise DataError(
                f"A cell has the token {int(tokens.max())}, but the vocabulary has {self.tokenizer.vocab_size}. "
                "The cells were tokenized with another dictionary."
            )
        if np.any(lengths > self.max_seq_length):
            tokens, lengths = truncate(tokens, lengths, self.max_seq_length, self.tokenizer.eos_id)
        return Samples(tokens, lengths, records)


def truncate(
    tokens: NDArray[np.int64], lengths: NDArray[np.int64], max_length: int, eos_id: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut cells to a length; a cell that ended in the end token still does.

    Args:
        tokens: [n] int64, the cells one after the other.
        lengths: [B] int64, tokens of each.
        max_length: Tokens to keep of each.
        eos_id: The variant's end token, or None.

    Returns:
        Tokens and lengths of the cut cells.
    """
    ends = np.cumsum(lengths)
    position = np.arange(len(tokens)) - np.repeat(ends - lengths, lengths)
    is_kept = position < max_length
    kept_lengths = np.minimum(lengths, max_length)
    kept = tokens[is_kept]
    if eos_id is not None:
        is_cut = (lengths > max_length) & (tokens[ends - 1] == eos_id)
        kept[np.cumsum(kept_lengths)[is_cut] - 1] = eos_id
    return kept, kept_lengths


def build_masking(
    tokenizer: GeneTokenizer,
    *,
    seed: int,
    mask_prob: float = 0.15,
    mask_token_prob: float = 0.8,
    random_token_prob: float = 0.1,
) -> PackMasking:
    """Masking with the ids of a vocabulary: genes are masked and drawn, special tokens never.

    Args:
        tokenizer: The vocabulary.
        seed: Seed of the masks.
        mask_prob: Probability that a gene is selected for the loss.
        mask_token_prob: Probability that a selected token is replaced by the mask token; 1.0 with
            `random_token_prob` 0.0 selects the same genes and masks all of them.
        random_token_prob: Probability that a selected token is replaced by a random gene.
    """
    return PackMasking(
        seed=seed,
        mask_token_id=tokenizer.mask_token_id,
        special_ids=tuple(tokenizer.all_special_ids),
        random_token_ids=tokenizer.gene_token_ids,
        mask_prob=mask_prob,
        mask_token_prob=mask_token_prob,
        random_token_prob=random_token_prob,
    )
