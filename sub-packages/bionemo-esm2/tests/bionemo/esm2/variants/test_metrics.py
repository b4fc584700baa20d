# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics against scipy and scikit-learn, with ties, and the coverage of the intervals."""

import math

import numpy as np
import pytest

from bionemo.esm2.variants.metrics import auc, measure, ndcg, spearman


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_metrics_are_those_of_scipy_and_scikit_learn(decimals):
    stats, sklearn = pytest.importorskip("scipy.stats"), pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    measured = rng.normal(size=200).round(decimals)
    scores = (measured + rng.normal(size=200)).round(decimals)  # no decimals: many ties
    gains = (measured - measured.min()) / (measured.max() - measured.min())
    assert spearman(scores, measured) == pytest.approx(stats.spearmanr(scores, measured).statistic, abs=1e-12)
    assert ndcg(scores, measured) == pytest.approx(sklearn.ndcg_score([gains], [scores]), abs=1e-12)
    assert auc(scores, measured > 0) == pytest.approx(sklearn.roc_auc_score(measured > 0, scores), abs=1e-12)


def test_intervals_cover_the_truth_and_narrow_with_more_variants():
    """Bivariate normal with correlation 0.6: Spearman's rho is 6 / pi * asin(0.3)."""
    truth = 6 / math.pi * math.asin(0.3)
    rng = np.random.default_rng(1)
    covered, widths = 0, []
    for size in [60] * 60 + [960]:
        pairs = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size)
        found = measure(pairs[:, 0], pairs[:, 1], threshold=None, num_bootstraps=100, seed=3)["spearman"]
        assert found.low <= found.value <= found.high
        covered += size == 60 and found.low <= truth <= found.high
        widths.append(found.high - found.low)
    assert 50 <= covered <= 60  # 57 of 60 expected
    assert widths[-1] == pytest.approx(np.mean(widths[:-1]) / 4, rel=0.3)


def test_what_is_not_defined_is_nan():
    same, values = np.ones(5), np.arange(5.0)
    assert all(map(math.isnan, (spearman(values, same), ndcg(values, same), auc(values, same > 2))))
    found = measure(values, same, threshold=7.0, num_bootstraps=5, seed=1)
    assert all(math.isnan(number) for estimate in found.values() for number in estimate)
