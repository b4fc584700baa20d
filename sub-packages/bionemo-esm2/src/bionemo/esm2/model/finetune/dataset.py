# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible data sets of labeled proteins in memory: padded samples, one protein each.

``finetune_esm2`` reads its tables without padding, see `bionemo.esm2.finetuning.labeled_proteins`.
"""

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from bionemo.core.errors import ConfigError, DataError
from bionemo.esm2.data.tokenizer import BioNeMoESMTokenizer, get_tokenizer
from bionemo.esm2.embedding.protein_file import SEQUENCE_COLUMNS
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.data.label2id_tokenizer import Label2IDTokenizer
from bionemo.llm.data.types import BertSample


__all__ = ["InMemoryPerTokenValueDataset", "InMemoryProteinDataset", "InMemorySingleValueDataset", "Label2IDTokenizer"]

TASK_TYPES = ("regression", "classification")


class InMemoryProteinDataset(Dataset[BertSample]):
    """Proteins whose labels are their own tokens.

    Args:
        sequences: P texts.
        labels: For each a label, or None.
        labels_mask: For each a text of 0 and 1, a character for each residue, or None.
        task_type: "regression" or "classification", or None without labels.
        tokenizer: Vocabulary; None: ESM-2's.
        seed: Kept for callers; nothing is random.
    """

    needs_labels: ClassVar[bool] = False

    def __init__(
        self,
        sequences: Sequence[str],
        labels: Sequence[Any] | None = None,
        labels_mask: Sequence[str] | None = None,
        task_type: str | None = None,
        tokenizer: BioNeMoESMTokenizer | None = None,
        seed: int = 42,
    ) -> None:
        if task_type is not None and task_type not in TASK_TYPES:
            raise ConfigError(f"task_type {task_type}: expected one of {', '.join(TASK_TYPES)}.")
        self.sequences = list(sequences)
        self.labels = None if labels is None else list(labels)
        self.labels_mask = None if labels_mask is None else list(labels_mask)
        for name, column in (("labels", self.labels), ("labels_mask", self.labels_mask)):
            if column is not None and len(column) != len(self.sequences):
                raise DataError(f"{len(column)} {name} for {len(self.sequences)} sequences; each needs one.")
        if self.needs_labels and self.labels is None:
            raise DataError(f"{type(self).__name__}: needs labels. Name their column: label_column.")
        self.task_type, self.seed = task_type, seed
        self.tokenizer = tokenizer or get_tokenizer()
        self.label_tokenizer = Label2IDTokenizer()
        if self.labels is not None and task_type == "classification":
            self.label_tokenizer.build_vocab(self.label_texts(self.labels))

    @classmethod
    def from_csv(
        cls,
        csv_path: str | os.PathLike[str],
        task_type: str | None = None,
        tokenizer: BioNeMoESMTokenizer | None = None,
        ignore_labels: bool = False,
        label_column: str = "labels",
        labels_mask_column: str | None = None,
    ) -> "InMemoryProteinDataset":
        """Read a CSV file with a column ``sequences`` or ``sequence``.

        Args:
            csv_path: File.
            task_type: "regression" or "classification".
            tokenizer: Vocabulary; None: ESM-2's.
            ignore_labels: Read sequences alone.
            label_column: Column of the labels; where it is missing there are none.
            labels_mask_column: Column of masks, or None.

        Raises:
            DataError: A column is missing.
        """
        import pandas as pd

        table = pd.read_csv(csv_path)
        column = next((name for name in SEQUENCE_COLUMNS if name in table.columns), None)
        if column is None:
            raise DataError(f"{csv_path}: no column sequences or sequence, found {', '.join(table.columns)}.")
        has_labels = not ignore_labels and label_column in table.columns
        if labels_mask_column is not None and labels_mask_column not in table.columns:
            raise DataError(f"{csv_path}: no column {labels_mask_column}, found {', '.join(table.columns)}.")
        masks = None if labels_mask_column is None or ignore_labels else table[labels_mask_column].astype(str).tolist()
        return cls(
            table[column].tolist(),
            labels=table[label_column].tolist() if has_labels else None,
            labels_mask=masks,
            task_type=task_type,
            tokenizer=tokenizer,
        )

    def __len__(self) -> int:
        """Number of proteins."""
        return len(self.sequences)

    def __getitem__(self, index: int) -> BertSample:
        """Return one protein as a padded batch's sample."""
        text = torch.tensor(self.tokenizer.encode(self.sequences[index]), dtype=torch.int64)
        labels, loss_mask = self.transform(index, text)
        return BertSample(
            text=text,
            types=torch.zeros_like(text),
            attention_mask=torch.ones_like(text),
            labels=labels,
            loss_mask=loss_mask,
            is_random=torch.zeros_like(text),
        )

    def label_texts(self, labels: Sequence[Any]) -> list[Any]:
        """Return labels as the vocabulary counts them."""
        return [[str(label)] for label in labels]

    def transform(self, index: int, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels and loss mask of one protein: its tokens, special ones left out."""
        loss_mask = torch.ones_like(text, dtype=torch.bool)
        loss_mask[0] = loss_mask[-1] = False
        return text.clone(), loss_mask


class InMemorySingleValueDataset(InMemoryProteinDataset):
    """Proteins with one label each: ``labels`` is [1], a float32 value or an int64 class; see the base class."""

    needs_labels = False

    def transform(self, index: int, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return the label, and a mask of residues for the mean."""
        mask = super().transform(index, text)[1]
        if self.labels is None:
            return text.clone(), mask
        if self.task_type == "classification":
            (number,) = self.label_tokenizer.text_to_ids([str(self.labels[index])])
            return torch.tensor([number], dtype=torch.int64), mask
        return torch.tensor([float(self.labels[index])], dtype=torch.float32), mask


class InMemoryPerTokenValueDataset(InMemoryProteinDataset):
    """Proteins with a class for each residue: ``labels`` is [S] int64, -100 at special tokens and where masked."""

    def label_texts(self, labels: Sequence[Any]) -> list[Any]:
        """Return labels as they are: a character for each residue."""
        return [str(label) for label in labels]

    def transform(self, index: int, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return classes and loss mask of one protein.

        Raises:
            DataError: It has another number of labels, or of mask characters, than residues.
        """
        if self.labels is None:
            return super().transform(index, text)
        label, num_residues = str(self.labels[index]), len(text) - 2
        mask = "1" * num_residues if self.labels_mask is None else self.labels_mask[index]
        if len(label) != num_residues or len(mask) != num_residues:
            raise DataError(
                f"sequence {index}: {len(label)} labels and {len(mask)} mask characters for {num_residues} residues."
            )
        labels = torch.full_like(text, MLM_LOSS_IGNORE_INDEX)
        labels[1:-1] = torch.tensor(self.label_tokenizer.text_to_ids(label), dtype=torch.int64)
        loss_mask = torch.zeros_like(text, dtype=torch.bool)
        loss_mask[1:-1] = torch.tensor([character == "1" for character in mask])
        labels[~loss_mask] = MLM_LOSS_IGNORE_INDEX
        return labels, loss_mask
