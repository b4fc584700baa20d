# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Loss of a head over all of its targets, and metrics of the held-out proteins while training.

Letters: X sequences or residues of a batch, O outputs of the head, L columns of labels, C classes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from bionemo.esm2.finetuning.head_config import HeadConfig, Target
from bionemo.esm2.finetuning.heads import ESM2WithHead
from bionemo.llm.training.loss_plot import PlotTexts


class TargetValues(NamedTuple):
    """Outputs and labels of one target."""

    target: Target
    outputs: Tensor
    """[X, O of the target]."""
    labels: Tensor
    """[X, L of the target] float32."""


def by_target(targets: Sequence[Target], outputs_XO: Tensor, labels_XL: Tensor) -> Iterator[TargetValues]:
    """Iterate over the targets with their columns, rows without a label left out."""
    output = value = 0
    for target in targets:
        outputs = outputs_XO[:, output : output + target.num_outputs]
        labels = labels_XL[:, value : value + target.num_values]
        output, value = output + target.num_outputs, value + target.num_values
        rows = ~labels[:, 0].isnan()
        yield TargetValues(target, outputs[rows].float(), labels[rows])


class HeadLoss:
    """Mean over all labels of squared errors of standardized values, of cross-entropies (nats), or binary ones.

    Args:
        head: What is predicted.
        class_weights: For each target [C] float32, how much a label of each class counts; None: all alike.
        metrics: Gets what is predicted without gradients.
    """

    def __init__(
        self,
        head: HeadConfig,
        class_weights: Sequence[Tensor | None] | None = None,
        metrics: "HeadMetrics | None" = None,
    ) -> None:
        self.head, self.metrics = head, metrics
        self.class_weights = class_weights or [None] * len(head.targets)

    def __call__(self, batch: Mapping[str, Any], outputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the summed loss of a batch and the number of labels, with class weights the sum of their weights."""
        predicted_XO, labels_XL = outputs["outputs"], batch["label_values"]
        loss_sum = predicted_XO.sum(dtype=torch.float32) * 0.0  # a batch without labels has a gradient too: zero
        count = loss_sum.new_zeros((), dtype=torch.float64)
        for values, weights in zip(
            by_target(self.head.targets, predicted_XO, labels_XL), self.class_weights, strict=True
        ):
            target_sum, target_count = target_loss(values, weights)
            loss_sum, count = loss_sum + target_sum, count + target_count
        if self.metrics is not None and not torch.is_grad_enabled():
            self.metrics.update(predicted_XO, labels_XL)
        return loss_sum, count

    @property
    def plot_texts(self) -> PlotTexts:
        """What ``loss.png`` says about the loss."""
        kinds = {target.kind for target in self.head.targets}
        unit = self.head.level
        if kinds == {"regression"}:
            return PlotTexts("Regression loss (lower is better)", "mean squared error (standardized values)")
        if "regression" in kinds:
            return PlotTexts("Loss of all targets (lower is better)", "mean of squared error and cross-entropy (nats)")
        return PlotTexts("Classification loss (lower is better)", f"cross-entropy (nats per labeled {unit})")


def target_loss(values: TargetValues, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return summed loss and number of labels of one target."""
    target, outputs, labels = values
    number = torch.tensor(float(len(labels)), dtype=torch.float64, device=outputs.device)
    if target.kind == "regression":
        standard = (labels - target.mean) / target.std
        return F.mse_loss(outputs, standard, reduction="sum"), number
    if target.kind == "multilabel":
        return F.binary_cross_entropy_with_logits(outputs, labels, reduction="none").mean(dim=1).sum(), number
    classes = labels.squeeze(1).long()
    if weights is None:
        return F.cross_entropy(outputs, classes, reduction="sum"), number
    weights = weights.to(outputs.device)
    return F.cross_entropy(outputs, classes, weights, reduction="sum"), weights[classes].sum(dtype=torch.float64)


def balanced_weights(head: HeadConfig, labels_XL: NDArray[np.float32]) -> list[Tensor | None]:
    """Return class weights with which every class that occurs in the training labels counts as much as any other."""
    found: list[Tensor | None] = []
    column = 0
    for target in head.targets:
        weights = None
        if target.kind == "classification":
            values = labels_XL[:, column]
            counts = np.bincount(values[~np.isnan(values)].astype(np.int64), minlength=len(target.classes))
            weights = torch.from_numpy(counts.sum() / ((counts > 0).sum() * counts.clip(min=1))).float()
        found.append(weights)
        column += target.num_values
    return found


def head_forward_step(module: nn.Module, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Label a batch."""
    assert isinstance(module, ESM2WithHead)
    return {"outputs": module.forward_packed(batch)}


METRICS = {
    "regression": ("mse", "pearson", "spearman"),
    "classification": ("acc", "f1", "mcc"),
    "multilabel": ("f1", "ap"),
}
"""Names of the validation metrics of each kind: mean squared error and correlations of values, accuracy, macro-F1,
Matthews correlation, macro-averaged precision."""
LOWER_IS_BETTER = ("loss", "mse")


def metric_columns(head: HeadConfig) -> tuple[str, ...]:
    """Return names such as ``val_acc``, with several targets ``val_acc_<column>``."""
    several = len(head.targets) > 1
    return tuple(
        f"val_{name}_{target.column}" if several else f"val_{name}"
        for target in head.targets
        for name in METRICS[target.kind]
    )


def is_higher_better(metric: str) -> bool:
    """Return whether larger values of a column of metrics.csv are better."""
    return metric.partition("_")[2].partition("_")[0] not in LOWER_IS_BETTER


class HeadMetrics(nn.Module):
    """Validation metrics of every target, by torchmetrics, over all data-parallel ranks.

    Args:
        head: What is predicted.
    """

    def __init__(self, head: HeadConfig) -> None:
        super().__init__()
        self.head = head
        self.metrics = nn.ModuleList(nn.ModuleDict(build_metrics(target)) for target in head.targets)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in metrics.csv."""
        return metric_columns(self.head)

    def update(self, outputs_XO: Tensor, labels_XL: Tensor) -> None:
        """Add a batch."""
        self.to(outputs_XO.device)
        for metrics, values in zip(self.metrics, by_target(self.head.targets, outputs_XO, labels_XL), strict=True):
            target, outputs, labels = values
            if not len(labels):
                continue
            assert isinstance(metrics, nn.ModuleDict)
            for metric in cast("Iterator[Any]", metrics.values()):
                if target.kind == "regression":
                    metric.update(outputs.squeeze(1) * target.std + target.mean, labels.squeeze(1))
                elif target.kind == "multilabel":
                    metric.update(outputs.sigmoid(), labels.int())
                else:
                    metric.update(outputs, labels.squeeze(1).long())

    def take(self) -> dict[str, float]:
        """Return the metrics over all ranks since the last call; NaN where one is not defined."""
        found: list[float] = []
        for metrics in self.metrics:
            assert isinstance(metrics, nn.ModuleDict)
            for metric in cast("Iterator[Any]", metrics.values()):
                found.append(_computed(metric))
                metric.reset()
        return dict(zip(self.columns, found, strict=True))


def _computed(metric: Any) -> float:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torchmetrics")
        warnings.filterwarnings("ignore", message=".*torchmetrics.*|.*variance of predictions.*|.*compute.*method.*")
        value = float(metric.compute())
    return value if math.isfinite(value) else math.nan


def build_metrics(target: Target) -> dict[str, nn.Module]:
    """Build the metrics of one target, by the names of ``METRICS``."""
    from torchmetrics import classification, regression

    if target.kind == "regression":
        built: tuple[nn.Module, ...] = (
            regression.MeanSquaredError(),
            regression.PearsonCorrCoef(),
            regression.SpearmanCorrCoef(),
        )
    elif target.kind == "multilabel":
        built = (
            classification.MultilabelF1Score(len(target.classes), average="macro"),
            classification.MultilabelAveragePrecision(len(target.classes), average="macro", thresholds=200),
        )
    else:
        built = (
            classification.MulticlassAccuracy(len(target.classes), average="micro"),
            classification.MulticlassF1Score(len(target.classes), average="macro"),
            classification.MulticlassMatthewsCorrCoef(len(target.classes)),
        )
    return dict(zip(METRICS[target.kind], built, strict=True))
