# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The loss of a head, what it keeps of validations, and the scores."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from bionemo.geneformer.data.labels import (
    label_genes,
    number_classes,
    read_values,
)
from bionemo.geneformer.head_training import HeadLoss
from bionemo.geneformer.scores import classification_scores, regression_scores
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import V1
from bionemo.llm.data.splits import stratified_folds, stratified_split
from bionemo.llm.training.callbacks import MetricsWriter
from bionemo.llm.training.metrics_csv import MetricsCsv
from bionemo.llm.training.run_directory import RunDirectory


def batch(cell_labels: torch.Tensor) -> dict:
    return {
        "cell_labels": cell_labels,
        "sample_idx": torch.tensor([7, 5, 9, -1]),
        "num_sequences": 3,
        "num_tokens": 6,
    }


def test_classes_weigh_what_they_are_given() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.5, 1.0], [0.0, 0.0]])
    labels, weights = torch.tensor([0, 1, 0]), torch.tensor([0.75, 1.5])
    loss = HeadLoss(is_regression=False, is_per_cell=True, class_weights=weights)
    with torch.no_grad():
        loss_sum, count = loss(batch(labels), {"predictions": logits})
    torch.testing.assert_close(loss_sum / count, F.cross_entropy(logits, labels, weights))
    kept = loss.take()
    assert (kept.cells.tolist(), kept.truth.tolist(), kept.predicted.tolist()) == ([7, 5, 9], [0, 1, 0], [0, 1, 0])


def test_a_regression_learns_standardized_values_and_keeps_real_ones() -> None:
    loss = HeadLoss(is_regression=True, is_per_cell=True, mean=10.0, std=2.0)
    with torch.no_grad():
        loss_sum, count = loss(
            batch(torch.tensor([8.0, 12.0, 10.0])), {"predictions": torch.tensor([[0.0], [1.0], [0.5]])}
        )
    assert (loss_sum.item(), count.item()) == (1.25, 3)
    assert loss.take().predicted.tolist() == [10.0, 12.0, 11.0]


@pytest.mark.parametrize(
    ("options", "title", "loss_label"),
    [
        ({"is_regression": True, "is_per_cell": True}, "Regression loss", "mean squared error (standardized values)"),
        ({"is_regression": False, "is_per_cell": True}, "Classification loss of cells", "cross-entropy (nats per"),
        (
            {"is_regression": False, "is_per_cell": False, "class_weights": torch.ones(2)},
            "Classification loss of genes",
            "class-weighted cross-entropy (nats per labeled gene)",
        ),
    ],
)
def test_the_picture_names_the_loss_that_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict, title: str, loss_label: str
) -> None:
    figures = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kwds: (figures.append(self), savefig(self, *args, **kwds))
    )
    run = RunDirectory(tmp_path)
    MetricsCsv(run.metrics_path).append({"step": 1, "train_loss": 0.001})
    MetricsWriter(run, 1, texts=HeadLoss(**options).plot_texts)._draw(SimpleNamespace(is_global_zero=True))
    (axes,) = figures[0].axes
    assert axes.get_title(loc="left").startswith(title)
    assert axes.get_ylabel().startswith(loss_label)
    assert axes.get_ylim()[0] == 0


def test_gene_labels_are_those_of_tokens_that_have_one() -> None:
    loss = HeadLoss(is_regression=False, is_per_cell=False)
    tokens = {
        "labels": torch.tensor([-100, 1, -100, 0, -100, -100, -100]),
        "input_ids": torch.tensor([11, 12, 13, 14, 15, 16, 0]),
        "cu_seqlens": torch.tensor([0, 2, 5, 6, 6], dtype=torch.int32),
        **{key: value for key, value in batch(torch.empty(0)).items() if key != "cell_labels"},
    }
    with torch.no_grad():
        _, count = loss(tokens, {"predictions": torch.tensor([[0.0, 1.0]]).expand(6, 2)})
    kept = loss.take()
    assert count == 2
    assert (kept.cells.tolist(), kept.tokens.tolist()) == ([7, 5], [12, 14])
    assert (kept.truth.tolist(), kept.predicted.tolist()) == ([1, 0], [1, 1])


def test_scores_equal_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, 200), rng.integers(0, 5, 200)
    scores = classification_scores(truth, predicted, 6)
    assert scores["macro_f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    assert scores["accuracy"] == metrics.accuracy_score(truth, predicted)
    values = rng.normal(size=50).astype(np.float32)
    guessed = (values + rng.normal(size=50)).astype(np.float32)
    scores = regression_scores(values, guessed)
    assert scores["r2"] == pytest.approx(metrics.r2_score(values, guessed), rel=1e-5)
    assert scores["rmse"] == pytest.approx(metrics.mean_squared_error(values, guessed) ** 0.5, rel=1e-5)
    assert scores["pearson"] == pytest.approx(np.corrcoef(values, guessed)[0, 1], rel=1e-5)


def test_folds_have_their_share_of_every_class() -> None:
    class_idx = np.repeat([0, 1, 2, -1], [50, 25, 10, 5])
    folds = stratified_folds(class_idx, 5, seed=3)
    assert (folds[-5:] == -1).all()
    for number, size in enumerate((50, 25, 10)):
        assert np.bincount(folds[class_idx == number]).tolist() == [size // 5] * 5
    assert not np.array_equal(folds, stratified_folds(class_idx, 5, seed=4))
    train, valid = stratified_split(class_idx, 0.2, seed=3)
    assert (len(train), len(valid)) == (68, 17)
    with pytest.raises(ValueError, match="101 folds of 85 labeled"):
        stratified_folds(class_idx, 101, seed=3)


def test_labels_are_read_or_refused() -> None:
    labels = number_classes(["T", "B", "nan", "T"], "cells")
    assert (labels.classes, labels.class_idx.tolist()) == (("B", "T"), [1, 0, -1, 1])
    with pytest.raises(ValueError, match="cells: has 1 class, expected at least two"):
        number_classes(["T", "", "T"], "cells")
    assert read_values(["1.5", "nan", "-2"], "cells")[[0, 2]].tolist() == [1.5, -2.0]
    with pytest.raises(ValueError, match="cells: cell 1 has the value 'x'"):
        read_values(["1", "x"], "cells")
    tokenizer = GeneTokenizer({"<pad>": 0, "<mask>": 1, "ENSG1": 2, "ENSG2": 3, "ENSG3": 4}, {"A": "ENSG1"})
    assert tokenizer.variant is V1
    genes = label_genes({"A": "up", "ENSG3": "down", "ENSG9": "up"}, tokenizer, "genes.json")
    assert (genes.classes, genes.class_idx.tolist()) == (("down", "up"), [-1, -1, 1, -1, 0])
