# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Projections of embeddings to two dimensions; the same for the same input and seed.

Letters: P records, D features.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.optional_deps import require


class PrincipalComponents(NamedTuple):
    """Coordinates on the first two principal components.

    Attributes:
        points: [P, 2] float32.
        explained: Fraction of the variance along each.
    """

    points: NDArray[np.float32]
    explained: tuple[float, float]


def project_umap(features: NDArray[np.floating], *, seed: int, extra: str) -> NDArray[np.float32]:
    """Project by UMAP (McInnes et al. 2018).

    Args:
        features: [P, D].
        seed: Of its random start.
        extra: What to give to pip where umap-learn is missing, for example ``"bionemo-esm2[analysis]"``.

    Returns:
        [P, 2].

    Raises:
        MissingDependencyError: umap-learn is not installed.
    """
    umap: Any = require("umap", extra=extra)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value")  # a seed needs one thread, as it says
        reducer = umap.UMAP(n_neighbors=min(15, len(features) - 1), random_state=seed)
        projected: NDArray[np.float32] = reducer.fit_transform(features)
    return projected


def project_pca(features: NDArray[np.floating]) -> PrincipalComponents:
    """Project on the two directions of largest variance; each points to where its largest loading is positive.

    Args:
        features: [P, D], P of 1 or more; of one record both coordinates are 0.

    >>> project_pca(np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])).points.tolist()
    [[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]]
    """
    centered = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    covariance = centered.T @ centered
    values, vectors = np.linalg.eigh(covariance)
    directions = np.zeros((features.shape[1], 2))
    chosen = vectors[:, ::-1][:, :2]
    directions[:, : chosen.shape[1]] = chosen
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(2)]
    directions *= np.where(largest < 0, -1.0, 1.0)
    total = float(values.sum()) or 1.0
    shares = [max(0.0, float(value)) / total for value in values[::-1][:2]] + [0.0]
    return PrincipalComponents((centered @ directions).astype(np.float32), (shares[0], shares[1]))
