# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of an evaluation with their intervals, by resampling what was held out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.randomness import Stream, rng_for
from bionemo.esm2.variants.metrics import spearman


BOOTSTRAPS = 200


class Score(NamedTuple):
    """One figure of one method on one data set."""

    method: str
    is_model: bool
    """Whether it uses the ESM-2, rather than being a baseline."""
    metric: str
    value: float
    low: float
    high: float
    """95 % interval by resampling proteins or variants."""


class TaskResult(NamedTuple):
    """All figures of one data set."""

    dataset: str
    task: str
    """What was predicted, on what."""
    num_train: int
    num_held_out: int
    scores: list[Score]


def accuracy_score(method: str, right: Sequence[NDArray[np.bool_]], *, is_model: bool, seed: int) -> Score:
    """Return the accuracy over all residues; whole proteins are resampled for its interval."""
    hits, sizes = (np.array(x, np.float64) for x in ([r.sum() for r in right], [len(r) for r in right]))

    def measure(proteins: Any) -> float:
        return float(hits[proteins].sum() / sizes[proteins].sum())

    return Score(method, is_model, "accuracy", measure(slice(None)), *interval(measure, len(hits), seed))


def rank_score(
    method: str, scores: NDArray[np.float64], values: NDArray[np.float64], *, is_model: bool, seed: int
) -> Score:
    """Return Spearman's correlation."""

    def measure(rows: Any) -> float:
        return spearman(scores[rows], values[rows])

    return Score(method, is_model, "Spearman", measure(slice(None)), *interval(measure, len(values), seed))


def interval(measure: Any, num_items: int, seed: int) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of a figure over resampled items."""
    rng = rng_for(seed, Stream.SPLIT, index=num_items)
    found = [measure(rng.integers(0, num_items, num_items)) for _ in range(BOOTSTRAPS)]
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(low), float(high)


def mean_score(method: str, values: NDArray[np.float64], metric: str, *, is_model: bool, seed: int) -> Score:
    """Return the mean of a figure of each protein; NaN is no figure."""

    def measure(proteins: Any) -> float:
        found = values[proteins]
        return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")

    return Score(method, is_model, metric, measure(slice(None)), *interval(measure, len(values), seed))
