# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Packed batches of labeled proteins, with cached features of a frozen encoder where there are some.

Letters: P proteins, R residues of all of them, L columns of labels, F features, n and r those of a batch.
"""

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo.core.randomness import Stream
from bionemo.esm2.data.tokenizer import CLS_ID, EOS_ID, PAD_ID
from bionemo.esm2.finetuning.head_config import Level
from bionemo.esm2.finetuning.labeled_proteins import LabeledProteins
from bionemo.llm.data.hashed_draws import draw_below, sample_keys
from bionemo.llm.data.packed_dataset import PackedDataset, Samples
from bionemo.llm.data.types import PackedBatch


if TYPE_CHECKING:
    from bionemo.core.data.size_aware_batching import Pack


class LabeledBatch(PackedBatch):
    """A packed batch of proteins with labels."""

    label_values: Tensor
    """[n or r, L] float32, see `bionemo.esm2.finetuning.labels`; not a number: no label."""

    features: Tensor | None
    """[n or r, F] float32, what the head sees; None: the encoder computes it."""


class LabeledProteinDataset(PackedDataset):
    """Packs of labeled proteins to `LabeledBatch`.

    Args:
        proteins: The proteins.
        labels: [P or R, L] float32.
        level: Whether labels are of sequences or of residues.
        subset: [P'] int64, proteins that belong to this data set.
        sequences_per_batch: Proteins of a batch.
        features: [P or R, F] float32, for example a memory map; None: none are cached.
        crop_length: Residues of a random window to which longer proteins are cropped in each epoch, where labels are
            of residues; None: proteins are whole.
        seed: Of the windows.
    """

    def __init__(
        self,
        proteins: LabeledProteins,
        labels: NDArray[np.float32],
        level: Level,
        *,
        subset: NDArray[np.int64],
        sequences_per_batch: int,
        features: NDArray[np.float32] | None = None,
        crop_length: int | None = None,
        seed: int = 0,
    ):
        self.residues_P = np.minimum(proteins.lengths, crop_length or proteins.lengths.max())
        self.seed = seed
        longest = int(self.residues_P.max()) + 2
        super().__init__(
            len(proteins),
            subset=subset,
            max_seq_length=longest,
            max_tokens=longest * sequences_per_batch,
            pad_token_id=PAD_ID,
            masking=None,
            sequences_multiple=1,
        )
        self.proteins, self.labels, self.level, self.features = proteins, labels, level, features

    def record_lengths(self, epoch: int, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] int64, tokens of each protein."""
        return self.residues_P[records] + 2

    def first_residues(self, epoch: int, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] int64, row of the first residue of each protein, or of its window in an epoch."""
        spare = self.proteins.lengths[records] - self.residues_P[records]
        keys = sample_keys(self.seed, Stream.CROP, epoch, records)
        return self.proteins.offsets[records] + draw_below(keys, spare + 1)  # the last start is included

    def read_records(self, epoch: int, records: NDArray[np.int64]) -> Samples:
        """The proteins between special tokens, one after the other."""
        lengths = self.record_lengths(epoch, records)
        tokens = np.empty(int(lengths.sum()), np.uint8)
        end = 0
        for first, length in zip(self.first_residues(epoch, records).tolist(), lengths.tolist(), strict=True):
            tokens[end], tokens[end + length - 1] = CLS_ID, EOS_ID
            tokens[end + 1 : end + length - 1] = self.proteins.tokens[first : first + length - 2]
            end += length
        return Samples(tokens, lengths, records)

    def __getitem__(self, pack: "Pack") -> LabeledBatch:
        batch = cast("LabeledBatch", super().__getitem__(pack))
        # The size is that of the largest batch possible: a tail that nobody reads is not carried along.
        for key in ("input_ids", "labels", "position_ids"):
            batch[key] = batch[key][: batch["num_tokens"]]  # type: ignore[literal-required]
        records = self.records(np.asarray(pack.idxs, dtype=np.int64))
        rows = records
        if self.level == "residue":
            firsts, lengths = self.first_residues(pack.epoch, records), self.residues_P[records]
            rows = np.concatenate([np.arange(first, first + n) for first, n in zip(firsts, lengths, strict=True)])
        batch["label_values"] = torch.from_numpy(self.labels[rows])
        batch["features"] = None if self.features is None else torch.from_numpy(np.asarray(self.features[rows]))
        return batch
