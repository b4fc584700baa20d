# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Genes whose perturbation has an impact, told from the others by a mixture of two Gaussians."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.core.optional_deps import require


class ImpactMixture:
    """Two Gaussians fitted to the genes' mean cosines; the lower one is the impact.

    A value beyond a component's mean, on the side away from the other one, belongs to that component however wide the
    other is; between the means the more probable one wins.

    Args:
        means: [G] mean cosine of each gene, at least two different ones.

    Raises:
        DataError: There are fewer than two different values.
        MissingDependencyError: scikit-learn is not installed.
    """

    def __init__(self, means: NDArray[np.float64]) -> None:
        if len(np.unique(means)) < 2:
            raise DataError(
                f"mixture_model: {len(means)} genes with {len(np.unique(means))} different mean cosines, needs two or "
                "more. Perturb more genes or cells."
            )
        mixture = require("sklearn.mixture", extra="bionemo-geneformer[analysis]")
        # Cosines lie within a few thousandths of 1, where the library's floor of a component's variance (1e-6) would
        # be most of it: fit standardized values.
        self._centre, self._scale = float(means.mean()), float(means.std())
        self._model: Any = mixture.GaussianMixture(n_components=2, random_state=0)
        self._model.fit(self._standardized(means))
        self._impact = int(np.argmin(self._model.means_[:, 0]))

    def is_impact(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return for each cosine whether it belongs to the impact component."""
        if len(values) == 0:
            return np.empty(0, dtype=bool)
        standardized = self._standardized(values)
        low, high = np.sort(self._model.means_[:, 0])
        probable = self._model.predict(standardized) == self._impact
        result: NDArray[np.bool_] = (standardized[:, 0] < low) | (probable & (standardized[:, 0] <= high))
        return result

    def _standardized(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = ((values - self._centre) / self._scale)[:, None]
        return scaled
