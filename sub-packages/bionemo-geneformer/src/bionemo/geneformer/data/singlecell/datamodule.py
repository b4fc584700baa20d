# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible data module of cells: padded batches from SCDL archives, on any Lightning trainer."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from bionemo.core.data.multi_epoch_dataset import MultiEpochDatasetResampler
from bionemo.core.errors import ConfigError
from bionemo.core.utils.random_utils import get_seed_from_rng
from bionemo.geneformer.data.singlecell.dataset import SingleCellDataset
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.llm.data.datamodule import PaddedDataModule
from bionemo.llm.utils.datamodule_utils import infer_num_samples


PathLike = str | os.PathLike[str]


class SingleCellDataModule(PaddedDataModule):
    """Cells of archives as padded batches, resumed by the number of consumed samples.

    Either the three paths of training, validation and test, or the path to predict.

    Args:
        tokenizer: The vocabulary.
        median_dict: Ensembl id to median.
        train_dataset_path: Archive to train on.
        val_dataset_path: Archive to validate on.
        test_dataset_path: Archive to test on.
        predict_dataset_path: Archive to predict, in its order.
        mask_prob: Probability that a gene is selected for the loss.
        mask_token_prob: Probability that a selected token is replaced by the mask token.
        random_token_prob: Probability that a selected token is replaced by a random gene.
        seq_length: Longest sample in tokens.
        micro_batch_size: Samples of one batch on one rank.
        global_batch_size: Samples of one optimizer step on all ranks.
        rampup_batch_size: Not supported: the batch size does not grow.
        seed: Seed of order and masks; each split draws its own from it.
        num_workers: Worker processes of each loader.
        persistent_workers: Whether workers outlive an epoch.
        pin_memory: Whether batches are put into page-locked memory.
        include_unrecognized_vocab_in_dataset: Refuse a cell with a gene that the vocabulary lacks.

    Raises:
        ConfigError: The paths are neither the three nor the one, or a growing batch size was asked for.
    """

    def __init__(
        self,
        tokenizer: GeneTokenizer,
        median_dict: Mapping[str, float],
        train_dataset_path: PathLike | None = None,
        val_dataset_path: PathLike | None = None,
        test_dataset_path: PathLike | None = None,
        predict_dataset_path: PathLike | None = None,
        mask_prob: float = 0.15,
        mask_token_prob: float = 0.8,
        random_token_prob: float = 0.1,
        seq_length: int = 2048,
        micro_batch_size: int = 4,
        global_batch_size: int = 8,
        rampup_batch_size: Sequence[int] | None = None,
        seed: int = 42,
        num_workers: int = 10,
        persistent_workers: bool = True,
        pin_memory: bool = True,
        include_unrecognized_vocab_in_dataset: bool = False,
    ):
        super().__init__(
            pad_token_id=tokenizer.pad_id,
            max_seq_length=seq_length,
            micro_batch_size=micro_batch_size,
            global_batch_size=global_batch_size,
            num_workers=num_workers,
            persistent_workers=persistent_workers,
            pin_memory=pin_memory,
        )
        paths = (train_dataset_path, val_dataset_path, test_dataset_path)
        if (predict_dataset_path is None) != all(path is not None for path in paths) or (
            predict_dataset_path is not None and any(path is not None for path in paths)
        ):
            raise ConfigError("Give train_, val_ and test_dataset_path, or predict_dataset_path alone.")
        if rampup_batch_size is not None:
            raise ConfigError("rampup_batch_size is not supported: leave it out.")
        self.tokenizer = tokenizer
        rng = np.random.default_rng(seed)
        self._seeds = {split: get_seed_from_rng(rng, np.int32) for split in ("train", "val", "test", "predict")}

        def build(split: str, path: PathLike | None) -> SingleCellDataset | None:
            if path is None:
                return None
            return SingleCellDataset(
                path,
                tokenizer,
                median_dict,
                max_len=seq_length,
                mask_prob=0.0 if split == "predict" else mask_prob,
                mask_token_prob=mask_token_prob,
                random_token_prob=random_token_prob,
                include_unrecognized_vocab_in_dataset=include_unrecognized_vocab_in_dataset,
                seed=self._seeds[split],
            )

        self._datasets = {
            "train": build("train", train_dataset_path),
            "val": build("val", val_dataset_path),
            "test": build("test", test_dataset_path),
            "predict": build("predict", predict_dataset_path),
        }

    def setup(self, stage: str = "") -> None:
        """Size the samples; the trainer says how many a run needs.

        Raises:
            RuntimeError: There is no trainer yet, or, for training, it has no number of steps.
        """
        del stage
        if self.trainer is None:
            raise RuntimeError("Setup should be completed when trainer and config are attached.")
        if self._datasets["train"] is not None and self.trainer.max_steps <= 0:
            raise RuntimeError(
                f"Please specify trainer.max_steps: the data is as long as the run, got {self.trainer.max_steps}."
            )

    def train_dataloader(self) -> DataLoader[Any]:
        """Loader of the training cells, shuffled anew in each epoch, from the position of the run on."""
        num_samples = self._trainer().max_steps * self.global_batch_size
        return self.build_dataloader(self._samples("train", num_samples, shuffle=True), training=True)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Loader of the validation cells, in order; none where `limit_val_batches` is 0."""
        return self._in_order("val", self._trainer().limit_val_batches)

    def test_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Loader of the test cells, in order; none where `limit_test_batches` is 0."""
        return self._in_order("test", self._trainer().limit_test_batches)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Loader of the cells to predict, each once, in order and unmasked."""
        return self.build_dataloader(self._samples("predict", None, shuffle=False))

    def _trainer(self) -> Any:
        if self.trainer is None:
            raise RuntimeError("Setup should be completed when trainer and config are attached.")
        return self.trainer

    def _in_order(self, split: str, limit_batches: float | None) -> DataLoader[Any] | list[Any]:
        if limit_batches == 0:
            return []
        num_cells = len(self._dataset(split))
        num_samples = infer_num_samples(limit_batches, num_cells, self.global_batch_size, split)
        return self.build_dataloader(self._samples(split, num_samples, shuffle=False))

    def _dataset(self, split: str) -> SingleCellDataset:
        dataset = self._datasets[split]
        if dataset is None:
            raise ConfigError(f"No {split}_dataset_path was given.")
        return dataset

    def _samples(self, split: str, num_samples: int | None, *, shuffle: bool) -> Dataset[Any]:
        return MultiEpochDatasetResampler(
            self._dataset(split), num_samples=num_samples, shuffle=shuffle, seed=self._seeds[split]
        )
