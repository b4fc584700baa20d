# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bionemo.geneformer.perturbation.rank_sum import (
    average_ranks,
    false_discovery_rates,
    rank_sum_pvalues,
    two_sample_pvalues,
)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), ties=st.booleans(), num_groups=st.integers(1, 6))
def test_equal_to_scipy_for_every_group(seed: int, ties: bool, num_groups: int) -> None:
    rng = np.random.default_rng(seed)

    def draw(size: int) -> np.ndarray:
        values = rng.normal(size=size)
        return values.round(1) if ties else values

    values, groups = draw(40), rng.integers(num_groups, size=40)
    background, background_groups = draw(30), rng.integers(num_groups, size=30)
    pvalues = rank_sum_pvalues(values, groups, background, num_groups)
    pairwise = two_sample_pvalues(values, groups, background, background_groups, num_groups)
    for group in range(num_groups):
        sample, other = values[groups == group], background[background_groups == group]
        if len(sample):
            assert pvalues[group] == pytest.approx(stats.ranksums(sample, background).pvalue, rel=1e-9)
        if len(sample) and len(other):
            assert pairwise[group] == pytest.approx(stats.ranksums(sample, other).pvalue, rel=1e-9)


def test_a_group_without_values_has_no_pvalue() -> None:
    pvalues = rank_sum_pvalues(np.array([1.0]), np.array([1]), np.array([0.0, 2.0]), 2)
    assert np.isnan(pvalues[0])
    assert pvalues[1] == pytest.approx(1.0)
    pvalues = two_sample_pvalues(np.array([1.0]), np.array([0]), np.array([1.0]), np.array([1]), 2)
    assert np.isnan(pvalues).all()


def test_ties_share_their_mean_rank() -> None:
    ranks = average_ranks(np.array([1.0, 2.0, 2.0, 5.0, 1.0, 1.0]), np.array([0, 0, 0, 0, 1, 1]))
    assert ranks.tolist() == [1.0, 2.5, 2.5, 4.0, 1.5, 1.5]


def test_false_discovery_rates_by_hand() -> None:
    # Sorted: .01 .02 .04 .2, times 4 / rank: .04 .04 .0533 .2.
    rates = false_discovery_rates(np.array([0.04, np.nan, 0.01, 0.2, 0.02]))
    assert rates[[0, 2, 3, 4]] == pytest.approx([0.16 / 3, 0.04, 0.2, 0.04])
    assert np.isnan(rates[1])
    assert np.isnan(false_discovery_rates(np.array([np.nan]))).all()
