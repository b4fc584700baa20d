# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible data module of ESM-2: padded batches from SQLite and parquet, on any Lightning trainer."""

import os
from typing import Any

from torch.utils.data import DataLoader

from bionemo.esm2.data.dataset import create_train_dataset, create_valid_clusters, create_valid_dataset
from bionemo.esm2.data.tokenizer import BioNeMoESMTokenizer, RandomMaskStrategy, get_tokenizer
from bionemo.llm.data.datamodule import PaddedDataModule
from bionemo.llm.utils.datamodule_utils import infer_num_samples


class ESMDataModule(PaddedDataModule):
    """Pretraining data of ESM-2 as padded batches, resumed by the number of consumed samples.

    For training without padding see `bionemo.esm2.data.packed_dataset`.

    Args:
        train_cluster_path: Parquet file, column ``ur90_id``: the member ids of each cluster.
        train_database_path: SQLite file of the members.
        valid_cluster_path: Parquet file, column ``ur50_id``.
        valid_database_path: SQLite file of the validation sequences.
        seed: Seed of order, members, crops and masks.
        min_seq_length: Pad to at least this many tokens; None: to the longest of each batch.
        max_seq_length: Longest sample in tokens.
        micro_batch_size: Samples of one batch on one rank.
        global_batch_size: Samples of one optimizer step on all ranks.
        num_workers: Worker processes of each loader.
        persistent_workers: Whether workers outlive an epoch.
        pin_memory: Whether batches are put into page-locked memory.
        mask_prob: Probability that a residue is selected for the loss.
        mask_token_prob: Probability that a selected residue is replaced by ``<mask>``.
        mask_random_prob: Probability that a selected residue is replaced by a random token.
        random_mask_strategy: From which tokens random ones are drawn.
        tokenizer: As in `ESMMaskedResidueDataset`.
    """

    def __init__(
        self,
        train_cluster_path: str | os.PathLike[str],
        train_database_path: str | os.PathLike[str],
        valid_cluster_path: str | os.PathLike[str],
        valid_database_path: str | os.PathLike[str],
        seed: int = 42,
        min_seq_length: int | None = None,
        max_seq_length: int = 1024,
        micro_batch_size: int = 4,
        global_batch_size: int = 8,
        num_workers: int = 10,
        persistent_workers: bool = True,
        pin_memory: bool = True,
        mask_prob: float = 0.15,
        mask_token_prob: float = 0.8,
        mask_random_prob: float = 0.1,
        random_mask_strategy: RandomMaskStrategy = RandomMaskStrategy.ORDINARY_TOKENS,
        tokenizer: BioNeMoESMTokenizer | None = None,
    ):
        self.tokenizer = tokenizer or get_tokenizer()
        super().__init__(
            pad_token_id=self.tokenizer.pad_token_id,
            min_seq_length=min_seq_length,
            max_seq_length=max_seq_length,
            micro_batch_size=micro_batch_size,
            global_batch_size=global_batch_size,
            num_workers=num_workers,
            persistent_workers=persistent_workers,
            pin_memory=pin_memory,
        )
        self.train_cluster_path = train_cluster_path
        self.train_database_path = train_database_path
        self.valid_cluster_path = valid_cluster_path
        self.valid_database_path = valid_database_path
        self.seed = seed
        self._sample_options: dict[str, Any] = {
            "max_seq_length": max_seq_length,
            "mask_prob": mask_prob,
            "mask_token_prob": mask_token_prob,
            "mask_random_prob": mask_random_prob,
            "random_mask_strategy": random_mask_strategy,
            "tokenizer": tokenizer,
        }

    def setup(self, stage: str = "") -> None:
        """Build the data sets; the trainer says how many samples a run needs.

        Raises:
            RuntimeError: There is no trainer yet, or it has no number of steps.
            ValueError: A file or column is missing, or `limit_val_batches` does not fit the validation set.
        """
        del stage
        if self.trainer is None:
            raise RuntimeError("Setup should be completed when trainer and config are attached.")
        max_steps = self.trainer.max_steps
        if max_steps <= 0:
            raise RuntimeError(f"Please specify trainer.max_steps: the data is as long as the run, got {max_steps}.")
        self._train_dataset = create_train_dataset(
            self.train_cluster_path,
            self.train_database_path,
            total_samples=max_steps * self.global_batch_size,
            seed=self.seed,
            **self._sample_options,
        )
        clusters = create_valid_clusters(self.valid_cluster_path)
        self._valid_dataset = None
        if self.trainer.limit_val_batches == 0:
            return
        self._valid_dataset = create_valid_dataset(
            clusters,
            self.valid_database_path,
            seed=self.seed,
            total_samples=infer_num_samples(
                self.trainer.limit_val_batches, len(clusters), self.global_batch_size, "val"
            ),
            **self._sample_options,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Loader of the training samples, from the position of the run on."""
        return self.build_dataloader(self._train_dataset, training=True)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Loader of the validation samples; none where `limit_val_batches` is 0."""
        return [] if self._valid_dataset is None else self.build_dataloader(self._valid_dataset)

    def test_dataloader(self) -> DataLoader[Any]:
        """There is no test set.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("ESM-2 pretraining has no test set. Use the validation loader.")
