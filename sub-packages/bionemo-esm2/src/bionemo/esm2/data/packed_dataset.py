# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Proteins as packed, masked batches: what pretraining reads.

Everything about a sample is a pure function of (seed, epoch, index): which member of its cluster it is, where it is
cropped and what is masked. The draws are vectorized hashes, see `bionemo.llm.data.hashed_draws`.
"""

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError
from bionemo.core.randomness import Stream
from bionemo.esm2.data.sequence_store import Clusters, SequenceSource
from bionemo.esm2.data.splits import split_train_valid as split_train_valid
from bionemo.esm2.data.tokenizer import MASK_ID, PAD_ID, SPECIAL_IDS, RandomMaskStrategy
from bionemo.llm.data.hashed_draws import draw_below, sample_keys
from bionemo.llm.data.masking import PackMasking
from bionemo.llm.data.packed_dataset import PackedDataset, Samples


class PackedProteinDataset(PackedDataset):
    """Packed batches of proteins for the packs of a `TokenBudgetBatchSampler`: ``dataset[pack]``.

    A sequence longer than `max_seq_length` is cropped to a window of that many tokens. The window is drawn after
    ``<cls>`` and ``<eos>`` were added, from all possible starts, so an interior window holds neither (the published
    recipe). Use it with ``DataLoader(dataset, sampler=sampler, batch_size=None)``.

    Args:
        source: Where the sequences are: a `SequenceStore` or a reader of BioNeMo 2 compatible SQLite files.
        subset: [n] int64, the clusters (sequences, without `clusters`) that belong to this data set; None: all.
        clusters: Each sample is one member of one cluster, drawn anew in each epoch; None: each sequence on its own.
        seed: Seed of members and crops; masks have theirs in `masking`.
        max_seq_length: Longest sample in tokens, special tokens included.
        max_tokens: Token budget of a pack, the size of every batch.
        masking: How to mask, or None for batches without labels.
        sequences_multiple: The number of sequences in a batch is rounded up to a multiple of this.

    Raises:
        ConfigError: A size is impossible.
        DataError: A cluster is empty, or there is nothing to read.
    """

    def __init__(
        self,
        source: SequenceSource,
        *,
        subset: NDArray[np.int64] | None = None,
        clusters: Clusters | None = None,
        seed: int,
        max_seq_length: int,
        max_tokens: int,
        masking: PackMasking | None,
        sequences_multiple: int = 8,
    ):
        if max_seq_length < 3:
            raise ConfigError(f"max_seq_length must be at least 3 (<cls>, a residue, <eos>), found {max_seq_length}.")
        super().__init__(
            len(source) if clusters is None else len(clusters.offsets) - 1,
            subset=subset,
            max_seq_length=max_seq_length,
            max_tokens=max_tokens,
            pad_token_id=PAD_ID,
            masking=masking,
            sequences_multiple=sequences_multiple,
        )
        self.source = source
        self.clusters = clusters
        self.seed = seed

    def rows(self, epoch: int, idxs: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] int64, which sequence of the source each sample is in an epoch."""
        return self._draw_members(epoch, self.records(idxs))

    def record_lengths(self, epoch: int, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] int64, tokens of each record's sample in an epoch after cropping."""
        return np.minimum(self.source.lengths_of(self._draw_members(epoch, records)), self.max_seq_length)

    def read_records(self, epoch: int, records: NDArray[np.int64]) -> Samples:
        """Each record's member of the epoch, cropped to its window of the epoch."""
        rows = self._draw_members(epoch, records)
        full_lengths = self.source.lengths_of(rows)
        lengths = np.minimum(full_lengths, self.max_seq_length)
        starts = None
        if np.any(full_lengths > lengths):
            keys = sample_keys(self.seed, Stream.CROP, epoch, records)
            starts = draw_below(keys, full_lengths - lengths + 1)  # the last start is included
        return Samples(self.source.gather(rows, starts, lengths), lengths, rows)

    def _draw_members(self, epoch: int, records: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.clusters is None:
            return records
        first, last = self.clusters.offsets[records], self.clusters.offsets[records + 1]
        if np.any(first >= last):
            raise DataError(f"Cluster {int(records[np.flatnonzero(first >= last)[0]])} is empty. Remove it.")
        members: NDArray[np.int64] = self.clusters.members[
            first + draw_below(sample_keys(self.seed, Stream.CLUSTER_MEMBER, epoch, records), last - first)
        ]
        return members


def build_masking(
    *,
    seed: int,
    mask_prob: float = 0.15,
    mask_token_prob: float = 0.8,
    random_token_prob: float = 0.1,
    strategy: RandomMaskStrategy = RandomMaskStrategy.ORDINARY_TOKENS,
) -> PackMasking:
    """Masking with the ids of ESM-2.

    Args:
        seed: Seed of the masks.
        mask_prob: Probability that a residue is selected for the loss.
        mask_token_prob: Probability that a selected residue is replaced by ``<mask>``; 1.0 with `random_token_prob`
            0.0 selects the same residues and masks all of them.
        random_token_prob: Probability that a selected residue is replaced by a random token.
        strategy: From which tokens random ones are drawn.
    """
    return PackMasking(
        seed=seed,
        mask_token_id=MASK_ID,
        special_ids=SPECIAL_IDS,
        random_token_ids=tuple(strategy.token_ids),
        mask_prob=mask_prob,
        mask_token_prob=mask_token_prob,
        random_token_prob=random_token_prob,
    )
