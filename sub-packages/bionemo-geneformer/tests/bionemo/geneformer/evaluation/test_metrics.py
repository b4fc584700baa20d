# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy.sparse import csr_matrix


sklearn = pytest.importorskip("sklearn")

from bionemo.core.errors import DataError  # noqa: E402 after the check that its extra is installed
from bionemo.geneformer.data.count_sources import open_adata  # noqa: E402
from bionemo.geneformer.evaluation.baselines import (  # noqa: E402
    log_normalized,
    principal_components,
    variable_genes,
)
from bionemo.geneformer.evaluation.metrics import (  # noqa: E402
    batch_mixing,
    silhouette,
    stratified_folds,
    type_scores,
)
from bionemo.testing.cells import make_cells  # noqa: E402


RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [40, 30, 20])
APART = (np.eye(3)[LABELS] * 20 + RNG.normal(size=(90, 3))).astype(np.float32)
NOISE = RNG.normal(size=(90, 3)).astype(np.float32)


def test_folds_spread_every_class_and_repeat_with_the_seed():
    folds = stratified_folds(LABELS, 5, seed=1)
    assert {tuple(np.bincount(folds[LABELS == label])) for label in range(3)} == {(8,) * 5, (6,) * 5, (4,) * 5}
    np.testing.assert_array_equal(folds, stratified_folds(LABELS, 5, seed=1))
    assert (folds != stratified_folds(LABELS, 5, seed=2)).any()


def test_types_that_lie_apart_are_told_and_noise_is_not():
    folds = stratified_folds(LABELS, 5, seed=1)
    told, guessed = type_scores(APART, LABELS, folds), type_scores(NOISE, LABELS, folds)
    assert told == {"logistic_accuracy": 1.0, "logistic_macro_f1": 1.0, "knn_accuracy": 1.0, "knn_macro_f1": 1.0}
    assert max(guessed["logistic_macro_f1"], guessed["knn_macro_f1"]) < 0.5
    assert silhouette(APART, LABELS) > 0.8 > 0.2 > silhouette(NOISE, LABELS)


def test_predictions_never_see_their_own_fold():
    memory = np.arange(90, dtype=np.float32)[:, None]  # each cell is its own best neighbour
    alternating = np.arange(90) % 2
    folds = stratified_folds(alternating, 5, seed=1)
    assert type_scores(memory, alternating, folds)["knn_accuracy"] < 0.7


def test_a_feature_that_never_varies_does_no_harm():
    folds = stratified_folds(LABELS, 3, seed=1)
    with_constant = np.column_stack([APART, np.full(90, 7.0)])
    assert type_scores(with_constant, LABELS, folds) == type_scores(APART, LABELS, folds)
    assert np.isfinite(silhouette(with_constant, LABELS))


def test_mixing_is_none_for_batches_apart_and_whole_for_a_random_draw():
    assert batch_mixing(APART, LABELS) < 0.05
    assert batch_mixing(RNG.normal(size=(2000, 2)), RNG.integers(0, 2, 2000)) > 0.9


def test_baselines_of_counts():
    cells = make_cells(60, 40, seed=1)
    dense = cells.counts.toarray().astype(np.float64)
    matrix = log_normalized(open_adata(cells.to_anndata()), np.array([5, 3, 40]))
    rows = dense[[5, 3, 40]]
    expected = np.log1p(rows / rows.sum(axis=1, keepdims=True) * 10_000)
    np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-6)
    whole = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 10_000).astype(np.float32)
    components = principal_components(csr_matrix(whole), 5, seed=0)
    centred = whole - whole.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)[:5]
    np.testing.assert_allclose(np.linalg.norm(components, axis=0), singular, rtol=1e-4)
    assert principal_components(csr_matrix(whole), 500, seed=0).shape == (60, 39)
    most = np.sort(np.argsort(-whole.var(axis=0))[:7])
    np.testing.assert_array_equal(variable_genes(csr_matrix(whole), 7), whole[:, most])
    adata = cells.to_anndata()
    adata.X = np.where(np.arange(60)[:, None] == 3, 0, dense)
    with pytest.raises(DataError, match="cell 3 has no counts"):
        log_normalized(open_adata(adata), np.array([5, 3]))
