# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Labels for fine-tuning: of cells from a column, of genes from a file, in packed batches.

Letters: C cells, V vocabulary, B cells of a batch (rounded up), T tokens of a pack.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.geneformer.data.packed_cells import PackedCellDataset
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.data.splits import MISSING
from bionemo.llm.data.types import PackedBatch


if TYPE_CHECKING:
    from bionemo.core.data.size_aware_batching import Pack


class ClassLabels(NamedTuple):
    """A class for each of some things."""

    classes: tuple[str, ...]
    """Names, in alphabetical order."""

    class_idx: NDArray[np.int64]
    """Which class each one has, -1 for none."""


class LabeledBatch(PackedBatch):
    """A packed batch of cells with their labels."""

    cell_labels: torch.Tensor
    """[number of real cells] int64 classes or float32 values; of no meaning where ``labels`` hold genes' classes."""


class LabeledCellDataset(PackedCellDataset):
    """Packs of labeled cells to `LabeledBatch`.

    Args:
        cell_labels: [C] int64 or float32, a label for each cell of the source; None: genes are labeled.
        gene_labels: [V] int64, the class of each token, -100 for none; None: cells are labeled.
        arguments: As of `PackedCellDataset`; nothing is masked.
    """

    def __init__(
        self,
        *arguments: Any,
        cell_labels: NDArray[Any] | None = None,
        gene_labels: NDArray[np.int64] | None = None,
        **settings: Any,
    ):
        super().__init__(*arguments, **settings)
        self.cell_labels = cell_labels
        self.gene_labels = gene_labels

    def __getitem__(self, pack: "Pack") -> LabeledBatch:
        batch = cast("LabeledBatch", super().__getitem__(pack))
        if self.cell_labels is not None:
            cells = batch["sample_idx"][: batch["num_sequences"]].numpy()
            batch["cell_labels"] = torch.from_numpy(self.cell_labels[cells])
        if self.gene_labels is not None:
            used = batch["input_ids"][: batch["num_tokens"]].numpy()
            batch["labels"][: batch["num_tokens"]] = torch.from_numpy(self.gene_labels[used])
        return batch


def number_classes(values: Sequence[Any] | NDArray[Any], source: str) -> ClassLabels:
    """Number the classes of a text column.

    Raises:
        DataError: There are fewer than two classes.
    """
    names = np.asarray(values).astype(str)
    is_missing = np.isin(names, MISSING)
    classes, class_idx = np.unique(names[~is_missing], return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"{source}: has {len(classes)} class{'es' * (len(classes) != 1)}, expected at least two.")
    numbered = np.full(len(names), -1, dtype=np.int64)
    numbered[~is_missing] = class_idx
    return ClassLabels(tuple(map(str, classes)), numbered)


def read_values(values: Sequence[Any] | NDArray[Any], source: str) -> NDArray[np.float32]:
    """Read a column of numbers; what is missing is not a number.

    Raises:
        DataError: A value is no number, or there is none at all.
    """
    texts = np.asarray(values).astype(str)
    numbers = np.full(len(texts), np.nan, dtype=np.float32)
    for cell in np.flatnonzero(~np.isin(texts, MISSING)):
        try:
            numbers[cell] = float(texts[cell])
        except ValueError as error:
            raise DataError(f"{source}: cell {cell} has the value {str(texts[cell])!r}, expected a number.") from error
    if not np.isfinite(numbers).any():
        raise DataError(f"{source}: holds no numbers.")
    return numbers


def label_genes(labels: Mapping[str, str], tokenizer: GeneTokenizer, source: str) -> ClassLabels:
    """Return the class of each token from the classes of genes.

    Args:
        labels: Ensembl id or symbol to class.
        tokenizer: The vocabulary.
        source: For messages.

    Returns:
        Classes, and [V] the class of each token.

    Raises:
        DataError: None of the genes is known, or there are fewer than two classes.
    """
    ids = {gene: tokenizer.token_to_id(tokenizer.gene_to_ens.get(gene, gene)) for gene in labels}
    known = {gene: token for gene, token in ids.items() if token is not None}
    if not known:
        raise DataError(
            f"{source}: the vocabulary knows none of its {len(labels)} genes, first {next(iter(labels), None)!r}. "
            "Give Ensembl ids, or symbols with --gene-names."
        )
    numbered = number_classes([labels[gene] for gene in known], source)
    of_tokens = np.full(tokenizer.vocab_size, -1, dtype=np.int64)
    of_tokens[list(known.values())] = numbered.class_idx
    return ClassLabels(numbered.classes, of_tokens)


def gene_label_tensor(class_idx: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """[V] classes of some tokens, -100 for every other one."""
    labels = np.full(len(class_idx), MLM_LOSS_IGNORE_INDEX, dtype=np.int64)
    labels[tokens] = class_idx[tokens]
    return labels
