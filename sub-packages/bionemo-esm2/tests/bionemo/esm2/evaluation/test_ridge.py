# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Kernel ridge regression against scikit-learn."""

import numpy as np
import pytest

from bionemo.esm2.evaluation.ridge import fit_and_predict, one_hot_kernel, ridge_predictions
from bionemo.esm2.variants.metrics import spearman


def test_it_is_ridge_regression_on_one_hot_residues() -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    sequences = [rng.integers(4, 24, 12).astype(np.uint8).tobytes() for _ in range(60)]
    sequences = [sequence[: 12 - number % 3] for number, sequence in enumerate(sequences)]
    features = np.zeros((60, 12, 33))
    for row, sequence in enumerate(sequences):
        features[row, np.arange(len(sequence)), list(sequence)] = 1.0
    features = features.reshape(60, -1)
    kernel = one_hot_kernel(sequences)
    np.testing.assert_array_equal(kernel, features @ features.T)
    values = features @ rng.normal(size=features.shape[1]) + 3.0
    train, others = np.arange(40), np.arange(40, 60)
    centered = features[train] - features[train].mean(axis=0)
    alpha = 0.1 * (centered**2).sum() / len(train)
    model = sklearn.Ridge(alpha=alpha).fit(features[train], values[train])
    (predicted,) = fit_and_predict(kernel, values, train, others, (0.1,))
    np.testing.assert_allclose(predicted, model.predict(features[others]), atol=1e-6)
    chosen = ridge_predictions(kernel, values, train, others)
    assert spearman(chosen, values[others]) > 0.2
