# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Classes of residues by a linear probe: least squares on features, in one pass and in memory of features squared.

Letters: R residues, F features, C classes.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


PENALTY = 1e-3
"""Multiple of the mean variance of the features."""
WINDOW = 7
"""Residues on each side of the one that is classified from one-hot letters."""
_LETTERS = 33


class LinearProbe:
    """Least squares from features to one-hot classes, with an intercept (a ridge classifier).

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._weights: NDArray[np.float64] | None = None

    def fit(self, parts: Iterable[tuple[NDArray[np.float32], NDArray[np.int64]]]) -> None:
        """Fit to residues that come in parts: features [R, F] and classes [R], -1 for none."""
        products: NDArray[np.float64] | None = None
        targets: NDArray[np.float64] | None = None
        for features, classes in parts:
            labeled = classes >= 0
            augmented = with_intercept(features[labeled])
            one_hot = np.eye(self.num_classes)[classes[labeled]]
            product, target = augmented.T @ augmented, augmented.T @ one_hot
            products = product if products is None else products + product
            targets = target if targets is None else targets + target
        assert products is not None
        assert targets is not None
        num_residues = products[-1, -1]
        mean = products[-1, :-1] / num_residues
        variance = np.diag(products)[:-1] / num_residues - mean**2
        penalty = np.append(np.full(len(mean), PENALTY * num_residues * max(float(variance.mean()), 1e-12)), 0.0)
        weights: NDArray[np.float64] = np.linalg.solve(
            products + np.diag(penalty + 1e-9 * num_residues), targets
        ).astype(np.float64)
        self._weights = weights

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the class of each residue, [R]."""
        assert self._weights is not None
        classes: NDArray[np.int64] = (with_intercept(features) @ self._weights).argmax(axis=1)
        return classes


def with_intercept(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Append a column of ones."""
    return np.concatenate([features.astype(np.float64), np.ones((len(features), 1))], axis=1)


def window_features(residues: bytes) -> NDArray[np.float32]:
    """Return one-hot letters of each residue and its neighbors, [R, 15 * 33] float32; none behind the ends."""
    tokens = np.frombuffer(residues, np.uint8).astype(np.int64)
    padded = np.concatenate([np.full(WINDOW, -1), tokens, np.full(WINDOW, -1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * WINDOW + 1)
    found = np.zeros((len(tokens), 2 * WINDOW + 1, _LETTERS), np.float32)
    rows, places = np.nonzero(windows >= 0)
    found[rows, places, windows[rows, places]] = 1.0
    return found.reshape(len(tokens), -1)
