# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Masked samples from BioNeMo 2 compatible SQLite and parquet files: one sample at a time, for padded batches.

A sample is fully determined by (seed, epoch, index): ``numpy.random.default_rng([seed, epoch, index])`` draws, in this
order, the member of the cluster, the start of the crop and the seed of the mask.
"""

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from bionemo.core.data.multi_epoch_dataset import EpochIndex, MultiEpochDatasetResampler
from bionemo.core.errors import ConfigError, DataError
from bionemo.core.utils.random_utils import get_seed_from_rng
from bionemo.esm2.data.cluster_files import create_valid_clusters, read_train_clusters
from bionemo.esm2.data.sqlite_dataset import ProteinSQLiteDataset, encode_protein
from bionemo.esm2.data.tokenizer import BioNeMoESMTokenizer, RandomMaskStrategy, get_tokenizer
from bionemo.llm.data.masking import BertMaskConfig, apply_bert_pretraining_mask
from bionemo.llm.data.types import BertSample


__all__ = [
    "ESMMaskedResidueDataset",
    "ProteinSQLiteDataset",
    "RandomMaskStrategy",
    "create_train_dataset",
    "create_valid_clusters",
    "create_valid_dataset",
]


class ESMMaskedResidueDataset(Dataset[BertSample]):
    """Masked proteins, one random member of each cluster in each epoch.

    Args:
        protein_dataset: Sequences by their id.
        clusters: Ids of the members of each cluster.
        seed: Seed of all draws.
        max_seq_length: Longest sample in tokens; longer sequences are cropped to a random window.
        mask_prob: Probability that a residue is selected for the loss.
        mask_token_prob: Probability that a selected residue is replaced by ``<mask>``.
        mask_random_prob: Probability that a selected residue is replaced by a random token; the rest stays.
        random_mask_strategy: From which tokens random ones are drawn.
        tokenizer: Replaces the rules of FASTA files: lower case is read, one final ``*`` is removed, anything else
            that is no residue is an error.

    Raises:
        ConfigError: The probabilities or the length are impossible.
    """

    def __init__(
        self,
        protein_dataset: ProteinSQLiteDataset,
        clusters: Sequence[Sequence[str]],
        seed: int = 42,
        max_seq_length: int = 1024,
        mask_prob: float = 0.15,
        mask_token_prob: float = 0.8,
        mask_random_prob: float = 0.1,
        random_mask_strategy: RandomMaskStrategy = RandomMaskStrategy.ORDINARY_TOKENS,
        tokenizer: BioNeMoESMTokenizer | None = None,
    ):
        if max_seq_length < 1:
            raise ConfigError(f"max_seq_length must be at least 1, found {max_seq_length}.")
        self.protein_dataset = protein_dataset
        self.clusters = clusters
        self.seed = seed
        self.max_seq_length = max_seq_length
        self.tokenizer = tokenizer or get_tokenizer()
        self._given_tokenizer = tokenizer
        self.mask_config = BertMaskConfig(
            tokenizer=self.tokenizer,
            random_tokens=RandomMaskStrategy(random_mask_strategy).token_ids,
            mask_prob=mask_prob,
            mask_token_prob=mask_token_prob,
            random_token_prob=mask_random_prob,
        )

    def __len__(self) -> int:
        return len(self.clusters)

    def __getitem__(self, index: EpochIndex) -> BertSample:
        """The sample of a cluster in an epoch.

        Args:
            index: Epoch, and position of the cluster.

        Returns:
            Tensors of the cropped length.

        Raises:
            IndexError: There is no such cluster.
            DataError: The cluster is empty, its member is not in the database or holds an illegal character.
            TypeError: The member's id is not text.
        """
        if not 0 <= index.idx < len(self):
            raise IndexError(f"cluster {index.idx} is out of range: there are {len(self)}.")
        members = self.clusters[index.idx]
        if not len(members):
            raise DataError(f"Cluster {index.idx} is empty. Each cluster needs at least one member.")
        rng = np.random.default_rng([self.seed, index.epoch, index.idx])
        sequence_id = members[int(rng.integers(len(members)))]
        tokens = self._encode(sequence_id)
        if len(tokens) > self.max_seq_length:
            # After the special tokens were added: an inner window holds neither of them. The last start is included.
            start = int(rng.integers(len(tokens) - self.max_seq_length + 1))
            tokens = tokens[start : start + self.max_seq_length]
        text, labels, loss_mask = apply_bert_pretraining_mask(tokens, get_seed_from_rng(rng), self.mask_config)
        return BertSample(
            text=text,
            types=torch.zeros_like(text),
            attention_mask=torch.ones_like(text),
            labels=labels,
            loss_mask=loss_mask,
            is_random=torch.zeros_like(text),
        )

    def _encode(self, sequence_id: str) -> torch.Tensor:
        tokens = encode_protein(
            self.protein_dataset.db_path,
            sequence_id,
            self.protein_dataset[sequence_id],
            tokenizer=self._given_tokenizer,
        )
        return torch.from_numpy(tokens.astype(np.int64))


def create_train_dataset(
    cluster_file: str | os.PathLike[str],
    db_path: str | os.PathLike[str],
    total_samples: int,
    seed: int,
    max_seq_length: int = 1024,
    mask_prob: float = 0.15,
    mask_token_prob: float = 0.8,
    mask_random_prob: float = 0.1,
    random_mask_strategy: RandomMaskStrategy = RandomMaskStrategy.ORDINARY_TOKENS,
    tokenizer: BioNeMoESMTokenizer | None = None,
) -> "MultiEpochDatasetResampler[BertSample]":
    """Build the training samples of a run: as many epochs as it needs, each in its own order.

    Args:
        cluster_file: Parquet file with a column ``ur90_id``.
        db_path: SQLite file of the members.
        total_samples: Samples of the whole run.
        seed: Seed of order and samples.
        max_seq_length: As in `ESMMaskedResidueDataset`, like all that follow.
        mask_prob: As above.
        mask_token_prob: As above.
        mask_random_prob: As above.
        random_mask_strategy: As above.
        tokenizer: As above.

    Raises:
        ValueError: A file is missing, a column is missing, or a cluster is empty.
    """
    dataset = ESMMaskedResidueDataset(
        ProteinSQLiteDataset(db_path),
        read_train_clusters(cluster_file),
        seed,
        max_seq_length,
        mask_prob,
        mask_token_prob,
        mask_random_prob,
        random_mask_strategy,
        tokenizer,
    )
    return MultiEpochDatasetResampler(dataset, num_samples=total_samples, shuffle=True, seed=seed)


def create_valid_dataset(
    clusters: Sequence[Sequence[str]] | str | os.PathLike[str],
    db_path: str | os.PathLike[str],
    seed: int,
    total_samples: int | None = None,
    max_seq_length: int = 1024,
    mask_prob: float = 0.15,
    mask_token_prob: float = 0.8,
    mask_random_prob: float = 0.1,
    random_mask_strategy: RandomMaskStrategy = RandomMaskStrategy.ORDINARY_TOKENS,
    tokenizer: BioNeMoESMTokenizer | None = None,
) -> "MultiEpochDatasetResampler[BertSample]":
    """Build the validation samples: one pass, or `total_samples`.

    Args:
        clusters: From `create_valid_clusters`, or the parquet file.
        db_path: SQLite file of the sequences.
        seed: Seed of order and samples.
        total_samples: How many samples; None: each once.
        max_seq_length: As in `ESMMaskedResidueDataset`, like all that follow.
        mask_prob: As above.
        mask_token_prob: As above.
        mask_random_prob: As above.
        random_mask_strategy: As above.
        tokenizer: As above.

    Raises:
        ValueError: A file or column is missing.
    """
    if isinstance(clusters, (str, os.PathLike)):
        clusters = create_valid_clusters(clusters)
    dataset = ESMMaskedResidueDataset(
        ProteinSQLiteDataset(db_path),
        clusters,
        seed,
        max_seq_length,
        mask_prob,
        mask_token_prob,
        mask_random_prob,
        random_mask_strategy,
        tokenizer,
    )
    return MultiEpochDatasetResampler(dataset, num_samples=total_samples, shuffle=True, seed=seed)
