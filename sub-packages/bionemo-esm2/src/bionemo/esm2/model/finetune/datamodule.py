# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible data module of labeled proteins."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from bionemo.core.errors import ConfigError
from bionemo.esm2.data.tokenizer import BioNeMoESMTokenizer, get_tokenizer
from bionemo.esm2.model.finetune.dataset import (
    InMemoryPerTokenValueDataset,
    InMemoryProteinDataset,
    InMemorySingleValueDataset,
)
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX, padding_collate_fn
from bionemo.llm.data.datamodule import PaddedDataModule


__all__ = ["DATASET_TYPES", "ESM2FineTuneDataModule"]

DATASET_TYPES = InMemoryPerTokenValueDataset | InMemorySingleValueDataset | InMemoryProteinDataset | None


class ESM2FineTuneDataModule(PaddedDataModule):
    """Padded loaders of labeled proteins; validation takes over the label vocabulary of training.

    Args:
        train_dataset: Labeled proteins, or None.
        valid_dataset: As above.
        predict_dataset: Proteins in the order in which they are predicted, or None.
        seed: Kept for callers.
        min_seq_length: Pad to at least this many tokens; None: to the longest of each batch.
        max_seq_length: Cut samples to this many tokens.
        micro_batch_size: Samples of one batch on one rank.
        global_batch_size: Samples of one optimizer step on all ranks.
        num_workers: Worker processes of each loader.
        persistent_workers: Whether workers outlive an epoch.
        pin_memory: Whether batches are put into page-locked memory.
        tokenizer: Vocabulary; None: ESM-2's.
    """

    def __init__(
        self,
        train_dataset: DATASET_TYPES = None,
        valid_dataset: DATASET_TYPES = None,
        predict_dataset: DATASET_TYPES = None,
        seed: int = 42,
        min_seq_length: int | None = None,
        max_seq_length: int = 1024,
        micro_batch_size: int = 4,
        global_batch_size: int = 8,
        num_workers: int = 2,
        persistent_workers: bool = True,
        pin_memory: bool = True,
        tokenizer: BioNeMoESMTokenizer | None = None,
    ) -> None:
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
        self.seed = seed
        self.train_dataset, self.valid_dataset, self.predict_dataset = train_dataset, valid_dataset, predict_dataset
        if train_dataset is not None and valid_dataset is not None:
            valid_dataset.label_tokenizer = train_dataset.label_tokenizer

    def collate(self, samples: Sequence[Any]) -> dict[str, torch.Tensor]:
        """Pad samples into a batch; labels of whole proteins are stacked as they are."""
        padding = {
            "text": self.pad_token_id,
            "types": 0,
            "attention_mask": 0,
            "labels": MLM_LOSS_IGNORE_INDEX,
            "loss_mask": 0,
            "is_random": 0,
        }
        if samples and len(samples[0]["labels"]) != len(samples[0]["text"]):  # one label, whatever the length
            labels = torch.stack([sample["labels"] for sample in samples])
            rest = [{key: value for key, value in sample.items() if key != "labels"} for sample in samples]
            return padding_collate_fn(rest, padding, self.min_seq_length, self.max_seq_length) | {"labels": labels}
        return padding_collate_fn(samples, padding, self.min_seq_length, self.max_seq_length)

    def train_dataloader(self) -> DataLoader[Any]:
        """Loader of the training proteins, from the position of the run on."""
        return self.build_dataloader(self._given("train"), training=True, collate=self.collate)

    def val_dataloader(self) -> DataLoader[Any]:
        """Loader of the validation proteins."""
        return self.build_dataloader(self._given("valid"), collate=self.collate)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Loader of the proteins to predict, in their order."""
        return self.build_dataloader(self._given("predict"), collate=self.collate)

    def _given(self, name: str) -> Any:
        dataset = getattr(self, f"{name}_dataset")
        if dataset is None:
            raise ConfigError(f"No {name}_dataset was provided. Give one to ESM2FineTuneDataModule.")
        return dataset
