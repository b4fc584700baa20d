# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How well a representation of cells tells their types, and how well it mixes batches.

Letters: C cells, D features.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.optional_deps import require
from bionemo.geneformer.evaluation.baselines import EXTRA
from bionemo.geneformer.scores import classification_scores


NUM_NEIGHBORS = 15


def stratified_folds(labels: NDArray[np.int64], num_folds: int, *, seed: int) -> NDArray[np.int64]:
    """[C] int64, the fold in which each cell is predicted; each class is spread evenly."""
    selection: Any = require("sklearn.model_selection", extra=EXTRA)
    folds = np.empty(len(labels), dtype=np.int64)
    splitter = selection.StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    for number, (_, test) in enumerate(splitter.split(labels, labels)):
        folds[test] = number
    return folds


def type_scores(
    features: NDArray[np.floating], labels: NDArray[np.int64], folds: NDArray[np.int64]
) -> dict[str, float]:
    """Predict each cell's type from the cells of other folds, by logistic regression and by its neighbors.

    Args:
        features: [C, D]. For the regression they are standardized by the training cells of each fold; neighbors are
            those of the features as they are, whose scales say what matters.
        labels: [C] int64 from 0.
        folds: [C] int64 from `stratified_folds`.

    Returns:
        Macro-F1 and accuracy of the pooled predictions of both.
    """
    linear: Any = require("sklearn.linear_model", extra=EXTRA)
    neighbors: Any = require("sklearn.neighbors", extra=EXTRA)
    preprocessing: Any = require("sklearn.preprocessing", extra=EXTRA)
    predicted = {"logistic": np.empty_like(labels), "knn": np.empty_like(labels)}
    for fold in np.unique(folds):
        test, train = folds == fold, folds != fold
        scaler = preprocessing.StandardScaler().fit(features[train])
        logistic = linear.LogisticRegression(max_iter=2000)
        logistic.fit(scaler.transform(features[train]), labels[train])
        predicted["logistic"][test] = logistic.predict(scaler.transform(features[test]))
        knn = neighbors.KNeighborsClassifier(min(NUM_NEIGHBORS, int(train.sum())))
        predicted["knn"][test] = knn.fit(features[train], labels[train]).predict(features[test])
    num_classes = int(labels.max()) + 1
    return {
        f"{name}_{metric}": value
        for name, found in predicted.items()
        for metric, value in classification_scores(labels, found, num_classes).items()
    }


def silhouette(features: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Mean silhouette of the types, -1 to 1: how much nearer a cell lies to its own type than to the next one."""
    metrics: Any = require("sklearn.metrics", extra=EXTRA)
    return float(metrics.silhouette_score(features, labels))


def batch_mixing(features: NDArray[np.floating], batches: NDArray[np.int64]) -> float:
    """How mixed the batches are around a cell: mean entropy of its neighbors' batches by that of all cells.

    Returns:
        0 where batches lie apart, about 1 where neighbors are a random draw.
    """
    neighbors: Any = require("sklearn.neighbors", extra=EXTRA)
    num_neighbors = min(NUM_NEIGHBORS, len(features) - 1)
    search = neighbors.NearestNeighbors(n_neighbors=num_neighbors).fit(features)
    places = search.kneighbors(return_distance=False)  # without the cell itself
    num_batches = int(batches.max()) + 1
    counts = np.stack([np.bincount(batches[row], minlength=num_batches) for row in places])
    overall = _entropy(np.bincount(batches, minlength=num_batches)[None])
    return float(_entropy(counts).mean() / overall[0])


def _entropy(counts_CB: NDArray[np.int64]) -> NDArray[np.float64]:
    shares = counts_CB / counts_CB.sum(axis=1, keepdims=True)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: NDArray[np.float64] = -(shares * logs).sum(axis=1)
    return entropy
