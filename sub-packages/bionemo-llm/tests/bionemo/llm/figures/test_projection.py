# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Principal components against NumPy's singular value decomposition; evaluate_geneformer's tests run UMAP."""

import sys

import numpy as np
import pytest

from bionemo.core.errors import MissingDependencyError
from bionemo.llm.figures.projection import project_pca, project_umap


def test_principal_components_are_those_of_the_singular_value_decomposition() -> None:
    features = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32) * np.arange(1, 8)
    points, explained = project_pca(features)
    left, sizes, directions = np.linalg.svd(features - features.mean(0, dtype=np.float64), full_matrices=False)
    for axis in range(2):
        sign = np.sign(directions[axis][np.abs(directions[axis]).argmax()])
        np.testing.assert_allclose(points[:, axis], sign * left[:, axis] * sizes[axis], atol=1e-4)
    np.testing.assert_allclose(explained, sizes[:2] ** 2 / (sizes**2).sum(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (2, 2)])
def test_few_records_and_features_have_two_finite_coordinates(shape: tuple[int, int]) -> None:
    points, explained = project_pca(np.random.default_rng(1).normal(size=shape))
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()
    assert 0 <= sum(explained) <= 1 + 1e-9


def test_umap_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match=r"umap is not installed.*pip install 'some\[extra\]'"):
        project_umap(np.zeros((5, 2)), seed=1, extra="some[extra]")
