# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""From an entry of the pack schedule to a `PackedBatch`: what the packed data sets of all models share.

A record is what the data set counts (a protein, a cluster of proteins, a cell); a row is where the source keeps the
tokens that stand for it in an epoch.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from bionemo.core.errors import ConfigError, DataError
from bionemo.llm.data.masking import PackMasking
from bionemo.llm.data.packing import build_packed_batch
from bionemo.llm.data.types import PackedBatch


if TYPE_CHECKING:
    from bionemo.core.data.size_aware_batching import Pack


class Samples(NamedTuple):
    """The samples of one packed batch, one after the other."""

    tokens: NDArray[np.integer]
    """[sum of lengths] integers, special tokens included."""

    lengths: NDArray[np.int64]
    """[B] int64, tokens of each sample."""

    rows: NDArray[np.int64]
    """[B] int64, which row of the source each sample is."""


class PackedDataset(Dataset[PackedBatch]):
    """From the packed batches of a `TokenBudgetBatchSampler` to tensors: ``dataset[pack]``.

    Everything about a sample is a pure function of (seed, epoch, record). Use it with
    ``DataLoader(dataset, sampler=sampler, batch_size=None)``, and with `token_lengths` as the sampler's lengths.

    Args:
        num_records: Records of the source.
        subset: [n] int64, the records that belong to this data set; None: all.
        max_seq_length: Longest sample in tokens, special tokens included.
        max_tokens: Token budget of a pack, the size of every batch.
        pad_token_id: Id of the tail.
        masking: How to mask, or None for batches without labels.
        sequences_multiple: The number of sequences in a batch is rounded up to a multiple of this.

    Raises:
        ConfigError: A long sample would fit no pack.
        DataError: There is nothing to read, or `subset` names a record that does not exist.
    """

    def __init__(
        self,
        num_records: int,
        *,
        subset: NDArray[np.int64] | None,
        max_seq_length: int,
        max_tokens: int,
        pad_token_id: int,
        masking: PackMasking | None,
        sequences_multiple: int = 8,
    ):
        if max_tokens < max_seq_length:
            raise ConfigError(
                f"max_tokens={max_tokens} is below max_seq_length={max_seq_length}: a long sequence fits no pack. "
                "Raise --tokens-per-batch or lower --max-seq-length."
            )
        self._num_samples = num_records if subset is None else len(subset)
        if self._num_samples == 0:
            raise DataError("The data set is empty: there is no sequence to read.")
        if subset is not None and not (0 <= int(subset.min()) and int(subset.max()) < num_records):
            raise DataError(f"A subset names record {int(subset.max())}, but there are {num_records}.")
        self.subset = subset
        self.max_seq_length = max_seq_length
        self.max_tokens = max_tokens
        self.pad_token_id = pad_token_id
        self.masking = masking
        self.sequences_multiple = sequences_multiple

    @abstractmethod
    def record_lengths(self, epoch: int, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] int64, tokens of each record's sample in an epoch."""

    @abstractmethod
    def read_records(self, epoch: int, records: NDArray[np.int64]) -> Samples:
        """The samples of records in an epoch, as long as `record_lengths` says."""

    def __len__(self) -> int:
        return self._num_samples

    def records(self, idxs: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] int64, which record each index of this data set is."""
        return idxs if self.subset is None else self.subset[idxs]

    def token_lengths(self, epoch: int, idxs: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] int64, tokens of each sample in an epoch: what the sampler packed batches by."""
        return self.record_lengths(epoch, self.records(idxs))

    def __getitem__(self, pack: "Pack") -> PackedBatch:
        records = self.records(np.asarray(pack.idxs, dtype=np.int64))
        samples = self.read_records(pack.epoch, records)
        return build_packed_batch(
            samples.tokens,
            samples.lengths,
            samples.rows,
            max_tokens=self.max_tokens,
            pad_token_id=self.pad_token_id,
            masking=self.masking,
            epoch=pack.epoch,
            mask_idx=records,
            sequences_multiple=self.sequences_multiple,
            next_position=pack.next_position,
        )
