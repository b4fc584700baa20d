# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Training of a head, and of what lies below it, on labeled cells: a few epochs of the Lightning engine."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bionemo.geneformer.data.labels import LabeledCellDataset
from bionemo.geneformer.model.heads import GeneformerWithHead
from bionemo.geneformer.model.standardization import (
    StandardizedPooler,
    absorb_standardization,
    standardize_cells,
)
from bionemo.geneformer.scores import classification_scores
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader
from bionemo.llm.lightning import BionemoLightningModule
from bionemo.llm.training.callbacks import MetricsWriter, ProgressBar
from bionemo.llm.training.loss_plot import PlotTexts
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.ranks.strategies import RanksStrategy
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.trainer import build_trainer


START_TIMEOUT = timedelta(minutes=10)
"""How long ranks wait for each other at the start."""
STATISTICS_CELLS = 2048
"""Training cells whose mean and variance stand for all."""


@dataclass(frozen=True, kw_only=True)
class HeadTraining:
    """How a head is trained; `FinetuneGeneformerConfig` says what each means."""

    num_epochs: int
    cells_per_micro_batch: int
    lr: float
    warmup_steps: int | None
    weight_decay: float
    keep_best: bool
    balance_classes: bool = False
    standardize: bool = True
    seed: int
    accelerator: str
    precision: str
    num_workers: int = 0
    accumulate: int = 1
    devices: int = 1
    num_nodes: int = 1

    @property
    def num_ranks(self) -> int:
        """Processes that share the cells of a step, each with micro-batches of its own."""
        return self.devices * self.num_nodes


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


class EpochKeeper(pl.Callback):
    """Takes the predictions of every validation, and remembers the weights of the best.

    Args:
        loss: Where the predictions are.
        num_classes: 0 for a regression; best is then the smallest validation loss, else the largest macro-F1.
        keep_best: Whether the best epoch counts, rather than the last.
        metrics: Knows the validation loss.
    """

    def __init__(self, loss: HeadLoss, num_classes: int, *, keep_best: bool, metrics: MetricsWriter) -> None:
        self.loss, self.num_classes, self.keep_best, self.metrics = loss, num_classes, keep_best, metrics
        self.predictions: Predictions | None = None
        self._best = -math.inf
        self._weights: dict[str, Tensor] | None = None

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Compare this epoch with the best so far."""
        predictions = self.loss.take(trainer.world_size)
        if self.num_classes:
            score = classification_scores(predictions.truth, predictions.predicted, self.num_classes)["macro_f1"]
        else:
            score = -self.metrics.latest["val_loss"]
        if self.keep_best and self.predictions is not None and score <= self._best:
            return
        self._best, self.predictions = score, predictions
        if self.keep_best:
            trained = module.module
            assert isinstance(trained, nn.Module)
            self._weights = {name: tensor.detach().cpu().clone() for name, tensor in trained.state_dict().items()}

    def restore(self, module: nn.Module) -> None:
        """Put the best epoch's weights back."""
        if self._weights is not None:
            module.load_state_dict(self._weights)


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
        """Measure before the first step."""
        self.measure(trainer, module)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Measure before the held-out cells."""
        self.measure(trainer, module)

    @torch.no_grad()
    def measure(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Compute the statistics of the cells, without dropout."""
        pooled: list[Tensor] = []
        hook = self.pooler.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0].float()))
        model, num_seen = module.module, 0
        assert isinstance(model, GeneformerWithHead)
        was_training = model.training
        model.eval()
        with trainer.precision_plugin.forward_context():
            for batch in self.batches:
                model.forward_packed(trainer.strategy.batch_to_device(batch, module.device))
                num_seen += batch["num_sequences"]
                if num_seen >= self.num_cells:
                    break
        model.train(was_training)
        hook.remove()
        self.pooler.measure(torch.cat(pooled))


def head_forward_step(module: nn.Module, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Predict the labels of a batch."""
    assert isinstance(module, GeneformerWithHead)
    return {"predictions": module.forward_packed(batch)}


def train_head(
    module: GeneformerWithHead,
    train_data: LabeledCellDataset,
    valid_data: LabeledCellDataset,
    settings: HeadTraining,
    folder: Path,
) -> Predictions:
    """Train a model in place.

    Args:
        module: Its parameters with ``requires_grad`` are trained.
        train_data: Labeled cells.
        valid_data: Held-out cells.
        settings: How.
        folder: Where ``metrics.csv`` and ``loss.png`` are written.

    Returns:
        Predictions of the held-out labels, of the epoch that is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    head = module.head_config
    loss = build_loss(module, train_data, balance_classes=settings.balance_classes)
    pooler = standardize_cells(module) if settings.standardize else None
    cells_per_step = settings.cells_per_micro_batch * settings.accumulate * settings.num_ranks
    steps_per_epoch = math.ceil(len(train_data) / cells_per_step)
    max_steps = settings.num_epochs * steps_per_epoch
    warmup_steps = settings.warmup_steps
    engine = BionemoLightningModule(
        module.config,
        head_forward_step,
        optimizer=OptimizerConfig(
            lr=settings.lr,
            warmup_steps=min(500, max_steps // 10) if warmup_steps is None else min(warmup_steps, max_steps),
            max_steps=max_steps,
            weight_decay=settings.weight_decay,
            beta2=0.999,
        ),
        loss_function=loss,
        module=module,
        dropout_seed=settings.seed,
    )
    run = RunDirectory(folder)
    metrics = MetricsWriter(run, max(1, steps_per_epoch // 4), texts=loss.plot_texts)
    keeper = EpochKeeper(loss, len(head.classes), keep_best=settings.keep_best, metrics=metrics)
    loading = PackLoading(
        tokens_per_batch=None, sequences_per_batch=settings.cells_per_micro_batch, seed=settings.seed
    )
    statistics = []
    if pooler is not None:
        batches = build_pack_loader(train_data, loading)
        statistics.append(CellStatistics(pooler, batches, min(len(train_data), STATISTICS_CELLS)))
    trainer = build_trainer(
        accelerator=settings.accelerator,
        precision=settings.precision,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=ranks_strategy(settings),
        max_steps=max_steps,
        val_check_interval=steps_per_epoch,
        limit_val_batches=1.0,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip=engine.optimizer_config.gradient_clip,
        callbacks=[*statistics, metrics, keeper, ProgressBar(metrics)],
        loggers=[],
    )
    loading = replace(loading, rank=trainer.global_rank, world_size=trainer.world_size)
    trainer.fit(
        engine,
        build_pack_loader(train_data, loading, num_workers=settings.num_workers),
        [build_pack_loader(valid_data, loading, epochs=1)],
    )
    module.cpu()
    keeper.restore(module)
    absorb_standardization(module)
    absorb_scale(module, loss)
    module.eval()
    assert keeper.predictions is not None
    return keeper.predictions


def ranks_strategy(settings: HeadTraining) -> RanksStrategy | None:
    """Build the strategy of several ranks, which compare their settings before they train; None for one."""
    if settings.num_ranks == 1:
        return None
    return RanksStrategy(settings=asdict(settings), start_timeout=START_TIMEOUT, gradient_as_bucket_view=True)


def build_loss(module: GeneformerWithHead, train_data: LabeledCellDataset, *, balance_classes: bool) -> HeadLoss:
    """Build the loss: a regression is standardized by the training values, classes weighted by their frequency."""
    head = module.head_config
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
