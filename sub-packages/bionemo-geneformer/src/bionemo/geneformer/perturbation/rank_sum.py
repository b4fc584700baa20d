# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Wilcoxon rank-sum tests of thousands of groups at once, and their false discovery rates.

Letters: N values of all groups, M values of the background, G groups.
"""

import numpy as np
from numpy.typing import NDArray


def rank_sum_pvalues(
    values: NDArray[np.float64], groups: NDArray[np.int64], background: NDArray[np.float64], num_groups: int
) -> NDArray[np.float64]:
    """Test every group against one background: the two-sided p-values of ``scipy.stats.ranksums``.

    The background is sorted once for all groups, so that 20,000 genes against 100,000 shifts take a second.

    Args:
        values: [N] values of all groups.
        groups: [N] group of each, 0 to G - 1.
        background: [M] values, at least one.
        num_groups: G.

    Returns:
        [G]; not a number for a group without values.
    """
    order = np.lexsort((values, groups))
    values, groups = values[order], groups[order]
    counts = np.bincount(groups, minlength=num_groups)
    within = average_ranks(values, groups)
    sums = np.bincount(groups, weights=within + ranks_in(values, np.sort(background)), minlength=num_groups)
    return _normal_pvalues(sums, counts, np.full(num_groups, len(background)))


def two_sample_pvalues(
    first: NDArray[np.float64],
    first_groups: NDArray[np.int64],
    second: NDArray[np.float64],
    second_groups: NDArray[np.int64],
    num_groups: int,
) -> NDArray[np.float64]:
    """Test, group by group, one sample against another: the two-sided p-values of ``scipy.stats.ranksums``.

    Returns:
        [G]; not a number where one of the two has no values.
    """
    values = np.concatenate([first, second])
    groups = np.concatenate([first_groups, second_groups])
    is_first = np.arange(len(values)) < len(first)
    order = np.lexsort((values, groups))
    groups, is_first = groups[order], is_first[order]
    ranks = average_ranks(values[order], groups)
    sums = np.bincount(groups[is_first], weights=ranks[is_first], minlength=num_groups)
    counts = (np.bincount(part, minlength=num_groups) for part in (first_groups, second_groups))
    return _normal_pvalues(sums, *counts)


def average_ranks(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rank of each value in its group, from 1; equal values share their mean rank.

    Args:
        values: [N] sorted within each group.
        groups: [N] sorted.
    """
    if len(values) == 0:
        return np.empty(0)
    is_new_group = np.concatenate([[True], groups[1:] != groups[:-1]])
    is_new_value = is_new_group | np.concatenate([[True], values[1:] != values[:-1]])
    starts = np.flatnonzero(is_new_value)
    ends = np.concatenate([starts[1:], [len(values)]])
    mean_place = (starts + ends - 1) / 2
    group_start = np.flatnonzero(is_new_group)[np.cumsum(is_new_group) - 1]
    ranks: NDArray[np.float64] = mean_place[np.cumsum(is_new_value) - 1] - group_start + 1
    return ranks


def ranks_in(values: NDArray[np.float64], ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many of the sorted values lie below each value, an equal one counting half."""
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    ranks: NDArray[np.float64] = (below + up_to) / 2
    return ranks


def _normal_pvalues(
    sums: NDArray[np.number], counts: NDArray[np.int64], other_counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Two-sided p-values of rank sums in the normal approximation without a correction for ties."""
    from scipy.stats import norm

    n, m = counts.astype(np.float64), other_counts.astype(np.float64)
    expected = n * (n + m + 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (sums - expected) / np.sqrt(n * m * (n + m + 1) / 12)
    pvalues: NDArray[np.float64] = 2 * norm.sf(np.abs(z))
    return pvalues


def false_discovery_rates(pvalues: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini and Hochberg's adjusted p-values; what is not a number stays so and does not count as a test."""
    from scipy.stats import false_discovery_control

    rates = np.full(len(pvalues), np.nan)
    tested = np.isfinite(pvalues)
    if tested.any():
        rates[tested] = false_discovery_control(pvalues[tested])
    return rates
