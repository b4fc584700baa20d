# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a head learns from labeled cells or genes: its loss, what it predicts, and how well."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bionemo.geneformer.data.labels import LabeledCellDataset
from bionemo.geneformer.model.heads import GeneformerWithHead, HeadConfig
from bionemo.geneformer.model.standardization import StandardizedPooler
from bionemo.geneformer.scores import classification_scores, regression_scores
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.training.input_statistics import inputs_of
from bionemo.llm.training.loss_plot import PlotTexts
from bionemo.llm.training.step_accounting import accounting_of


class Predictions(NamedTuple):
    """Predictions of held-out labels, one row for each."""

    cells: NDArray[np.int64]
    """Number of the cell in its source."""
    tokens: NDArray[np.int64] | None
    """The token, where genes were predicted."""
    truth: NDArray[Any]
    """int64 classes or float32 values."""
    predicted: NDArray[Any]
    """The same."""

    @classmethod
    def nothing(cls) -> "Predictions":
        """Return no predictions."""
        return cls(np.zeros(0, np.int64), None, np.zeros(0), np.zeros(0))

    @classmethod
    def concatenate(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """Put the predictions of several models one after the other."""
        tokens = [part.tokens for part in parts if part.tokens is not None]
        return cls(
            np.concatenate([part.cells for part in parts]),
            np.concatenate(tokens) if tokens else None,
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.predicted for part in parts]),
        )


class HeadLoss:
    """Loss of a head on a batch; predictions made without gradients are kept until they are taken.

    Args:
        is_regression: Squared error rather than cross-entropy.
        is_per_cell: Whether a cell has the label, or each of its tokens.
        mean, std: Of the training values; a regression learns the standardized ones.
        class_weights: [classes] float32, how much a label counts; None: all alike.
    """

    def __init__(
        self,
        *,
        is_regression: bool,
        is_per_cell: bool,
        mean: float = 0.0,
        std: float = 1.0,
        class_weights: Tensor | None = None,
    ) -> None:
        self.is_regression, self.is_per_cell = is_regression, is_per_cell
        self.mean, self.std = mean, std
        self.class_weights = class_weights
        self._kept: list[Predictions] = []

    def __call__(self, batch: Mapping[str, Any], outputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Give the summed loss and the number of labels."""
        predicted = outputs["predictions"]
        labels = batch["cell_labels"] if self.is_per_cell else batch["labels"][: batch["num_tokens"]]
        if self.is_regression:
            targets = (labels - self.mean) / self.std
            loss_sum = F.mse_loss(predicted.squeeze(1).float(), targets, reduction="sum")
            count = torch.tensor(len(labels), device=labels.device)
        else:
            weights = None if self.class_weights is None else self.class_weights.to(labels.device)
            loss_sum = F.cross_entropy(
                predicted.float(), labels, weights, ignore_index=MLM_LOSS_IGNORE_INDEX, reduction="sum"
            )
            rows = labels[labels != MLM_LOSS_IGNORE_INDEX]
            count = torch.tensor(len(rows), device=labels.device) if weights is None else weights[rows].sum()
        if not torch.is_grad_enabled():
            self._kept.append(self._read(batch, labels, predicted))
        return loss_sum, count

    @property
    def plot_texts(self) -> PlotTexts:
        """What ``loss.png`` says about the loss."""
        if self.is_regression:
            return PlotTexts("Regression loss (lower is better)", "mean squared error (standardized values)")
        unit = "cell" if self.is_per_cell else "gene"
        weighted = "" if self.class_weights is None else "class-weighted "
        return PlotTexts(
            f"Classification loss of {unit}s (lower is better)", f"{weighted}cross-entropy (nats per labeled {unit})"
        )

    def _read(self, batch: Mapping[str, Any], labels: Tensor, predicted: Tensor) -> Predictions:
        cells = batch["sample_idx"][: batch["num_sequences"]]
        tokens = None
        if not self.is_per_cell:
            rows = labels != MLM_LOSS_IGNORE_INDEX
            lengths = batch["cu_seqlens"].diff()[: batch["num_sequences"]].long()
            cells = cells.repeat_interleave(lengths)[rows]
            tokens = batch["input_ids"][: batch["num_tokens"]][rows].cpu().numpy()
            labels, predicted = labels[rows], predicted[rows]
        values = predicted.squeeze(1) * self.std + self.mean if self.is_regression else predicted.argmax(dim=1)
        return Predictions(
            cells.cpu().numpy(), tokens, labels.cpu().numpy(), values.float().cpu().numpy()
            if self.is_regression
            else values.cpu().numpy(),
        )  # fmt: skip

    def take(self, num_ranks: int = 1) -> Predictions:
        """Return the predictions made since the last call, in the order of the batches; every rank calls it.

        Args:
            num_ranks: Ranks that took the batches in turn.
        """
        kept, self._kept = self._kept, []
        if num_ranks > 1:
            of_ranks: list[Any] = [None] * num_ranks
            torch.distributed.all_gather_object(of_ranks, kept)
            kept = [batch for turn in zip_longest(*of_ranks) for batch in turn if batch is not None]
        return Predictions.concatenate(kept)


class HeldOutScores:
    """Scores of the held-out labels in each validation; see `bionemo.llm.training.callbacks.ValidationMetrics`.

    Args:
        loss: Where the predictions are.
        head: What is predicted.
        num_ranks: Ranks that take the batches in turn.
    """

    def __init__(self, loss: HeadLoss, head: HeadConfig, num_ranks: int) -> None:
        self.loss, self.head, self.num_ranks = loss, head, num_ranks

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in metrics.csv."""
        return ("val_rmse", "val_r2", "val_pearson") if self.head.is_regression else ("val_accuracy", "val_macro_f1")

    def take(self) -> dict[str, float]:
        """Return the scores of all ranks' predictions since the last call."""
        found = scores(self.head, self.loss.take(self.num_ranks))
        return {name: found[name.removeprefix("val_")] for name in self.columns}


def scores(head: HeadConfig, predictions: Predictions) -> dict[str, float]:
    """Compute how well what was held out is predicted."""
    if head.is_regression:
        return regression_scores(predictions.truth, predictions.predicted)
    return classification_scores(predictions.truth, predictions.predicted, len(head.classes))


class CellStatistics(pl.Callback):
    """Measures training cells before training and before every validation, at the weights of that moment.

    Args:
        pooler: Gets the statistics.
        batches: Of the training cells in random order, the same at every call.
        num_cells: How many are measured.
    """

    def __init__(self, pooler: StandardizedPooler, batches: DataLoader[Any], num_cells: int) -> None:
        self.pooler, self.batches, self.num_cells = pooler, batches, num_cells

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Measure before the first step; a resumed run has the statistics of its checkpoint."""
        if accounting_of(module).progress.step == 0:
            self.measure(trainer, module)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Measure before the held-out cells."""
        self.measure(trainer, module)

    def measure(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Compute the statistics of the cells, without dropout."""
        with trainer.precision_plugin.forward_context():
            self.pooler.measure(
                inputs_of(self.pooler, module.module, self.batches, num_sequences=self.num_cells, device=module.device)
            )


def head_forward_step(module: nn.Module, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Predict the labels of a batch."""
    assert isinstance(module, GeneformerWithHead)
    return {"predictions": module.forward_packed(batch)}


def build_loss(head: HeadConfig, train_data: LabeledCellDataset, *, balance_classes: bool) -> HeadLoss:
    """Build the loss: a regression is standardized by the training values, classes weighted by their frequency."""
    labels = training_labels(train_data)
    if head.is_regression:
        values = labels.astype(np.float64)
        std = float(values.std()) or 1.0
        return HeadLoss(is_regression=True, is_per_cell=True, mean=float(values.mean()), std=std)
    weights = None
    if balance_classes:
        counts = np.bincount(labels, minlength=len(head.classes))
        weights = torch.from_numpy(len(labels) / (len(counts) * counts.clip(min=1))).float()
    return HeadLoss(is_regression=False, is_per_cell=head.is_per_cell, class_weights=weights)


def training_labels(train_data: LabeledCellDataset) -> NDArray[Any]:
    """Labels of the training cells, or the classes of the genes that have one."""
    if train_data.gene_labels is not None:
        of_genes: NDArray[Any] = train_data.gene_labels[train_data.gene_labels != MLM_LOSS_IGNORE_INDEX]
        return of_genes
    assert train_data.cell_labels is not None
    labels: NDArray[Any] = train_data.cell_labels[train_data.records(np.arange(len(train_data)))]
    return labels


@torch.no_grad()
def absorb_scale(module: GeneformerWithHead, loss: HeadLoss) -> None:
    """Rescale the last layer of a regression from standardized values to values."""
    if loss.is_regression:
        classifier = module.head.classifier
        classifier.weight.mul_(loss.std)
        classifier.bias.mul_(loss.std).add_(loss.mean)
