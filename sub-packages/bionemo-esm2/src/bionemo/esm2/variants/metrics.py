# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How well scores order variants by a measured value: Spearman, NDCG and AUC with bootstrap intervals.

Letters: P variants.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


Values = NDArray[np.float64]
CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A metric of all variants and its percentile bootstrap interval of 95 %; NaN where it is not defined."""

    value: float
    low: float
    high: float


def average_ranks(values: Values) -> Values:
    """Return the ranks from 1 to P of values in ascending order; equal values share the mean of theirs.

    >>> average_ranks(np.array([0.5, 3.0, 0.5])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Values = (ends - (counts - 1) / 2)[group]
    return ranks


def spearman(scores: Values, measured: Values) -> float:
    """Return Spearman's rank correlation; NaN where one side is constant.

    >>> round(spearman(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0])), 2)
    0.8
    """
    x, y = (ranks - ranks.mean() for ranks in (average_ranks(scores), average_ranks(measured)))
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / norm if norm else math.nan


def ndcg(scores: Values, measured: Values) -> float:
    """Return the normalized discounted cumulative gain of the order of scores (Järvelin and Kekäläinen 2002).

    A variant's gain is its measured value scaled to 0 ... 1 over all; equal scores share the mean of their gains. NaN
    where the measured values are constant.

    >>> ndcg(np.array([3.0, 2.0, 1.0]), np.array([9.0, 5.0, 1.0]))
    1.0
    """
    span = measured.max() - measured.min()
    if not span:
        return math.nan
    gains = (measured - measured.min()) / span
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))
    _, group, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    mean_gain = np.bincount(group, weights=gains) / counts
    in_order = np.repeat(mean_gain, counts)
    return float(in_order @ discounts / (np.sort(gains)[::-1] @ discounts))


def auc(scores: Values, is_fit: NDArray[np.bool_]) -> float:
    """Return the area under the receiver operating characteristic; NaN where one class is empty.

    >>> auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    num_fit = int(is_fit.sum())
    num_unfit = len(is_fit) - num_fit
    if not num_fit or not num_unfit:
        return math.nan
    above = average_ranks(scores)[is_fit].sum() - num_fit * (num_fit + 1) / 2
    return float(above) / (num_fit * num_unfit)


def measure(
    scores: Values, measured: Values, *, threshold: float | None, num_bootstraps: int, seed: int
) -> dict[str, Estimate]:
    """Compute all metrics of some variants.

    Args:
        scores: [P].
        measured: [P], larger is fitter.
        threshold: Variants measured above it are fit, for the AUC; None: above the median.
        num_bootstraps: Resamples of P variants with replacement; 0: no intervals.
        seed: Of the resamples.

    Returns:
        ``spearman``, ``ndcg`` and ``auc``.

    >>> values = np.arange(50.0)
    >>> measure(values, values, threshold=None, num_bootstraps=20, seed=1)["auc"]
    Estimate(value=1.0, low=1.0, high=1.0)
    """
    is_fit = measured > (float(np.median(measured)) if threshold is None else threshold)
    metrics: dict[str, Callable[[NDArray[np.int64]], float]] = {
        "spearman": lambda places: spearman(scores[places], measured[places]),
        "ndcg": lambda places: ndcg(scores[places], measured[places]),
        "auc": lambda places: auc(scores[places], is_fit[places]),
    }
    rng = np.random.default_rng(seed)
    samples = [rng.integers(0, len(scores), len(scores)) for _ in range(num_bootstraps)]
    everything = np.arange(len(scores))
    return {name: _estimate(metric, everything, samples) for name, metric in metrics.items()}


def _estimate(
    metric: Callable[[NDArray[np.int64]], float], everything: NDArray[np.int64], samples: list[NDArray[np.int64]]
) -> Estimate:
    found = np.array([metric(places) for places in samples])
    found = found[~np.isnan(found)]
    if not len(found):
        return Estimate(metric(everything), math.nan, math.nan)
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(metric(everything), float(low), float(high))
