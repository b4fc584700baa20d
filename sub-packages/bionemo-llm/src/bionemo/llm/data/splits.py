# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Dividing a data set into training and validation, and into folds."""

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError
from bionemo.core.randomness import Stream, hash_words, rng_for


MISSING = ("", "nan", "None", "NA", "<NA>")
"""How a text column says that it has no value."""


def split_train_valid(
    num_records: int, valid_fraction: float, seed: int, *, alternative: str = "--valid-fasta"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide records (clusters, or sequences) at random into training and validation.

    Args:
        num_records: How many there are.
        valid_fraction: Share that becomes validation, between 0 and 1.
        seed: Equal seeds give equal splits.
        alternative: The flag that gives validation data of its own.

    Returns:
        train: [n] int64, ascending.
        valid: [m] int64, ascending, ``m = round(num_records * valid_fraction)``.

    Raises:
        ConfigError: One of the two would be empty.
    """
    num_valid = round(num_records * valid_fraction)
    if not 1 <= num_valid < num_records:
        raise ConfigError(
            f"--valid-fraction {valid_fraction} of {num_records} records leaves {num_records - num_valid} to train on "
            f"and {num_valid} to validate on. Both need at least one: change the fraction or give {alternative}."
        )
    keys = hash_words(seed, int(Stream.SPLIT), 0, np.arange(num_records, dtype=np.int64))
    is_valid = np.zeros(num_records, dtype=bool)
    is_valid[np.argpartition(keys, num_valid)[:num_valid]] = True
    return np.flatnonzero(~is_valid), np.flatnonzero(is_valid)


def stratified_folds(class_idx: NDArray[np.int64], num_folds: int, seed: int) -> NDArray[np.int64]:
    """Deal things to folds so that every fold has its share of each class.

    Args:
        class_idx: Class of each, -1 for those that take no part.
        num_folds: Folds, at least 2.
        seed: Equal seeds give equal folds.

    Returns:
        Fold of each, -1 for those that take no part.

    Raises:
        ConfigError: There are fewer than two folds, or fewer things than folds.
    """
    taking_part = np.flatnonzero(class_idx >= 0)
    if not 2 <= num_folds <= len(taking_part):
        raise ConfigError(f"{num_folds} folds of {len(taking_part)} labeled: give between 2 and that number.")
    shuffled = rng_for(seed, Stream.SPLIT).permutation(taking_part)
    by_class = shuffled[np.argsort(class_idx[shuffled], kind="stable")]
    folds = np.full(len(class_idx), -1, dtype=np.int64)
    folds[by_class] = np.arange(len(by_class)) % num_folds
    return folds


def stratified_split(
    class_idx: NDArray[np.int64], valid_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return training and validation positions, a fraction of each class held out; see `stratified_folds`."""
    folds = stratified_folds(class_idx, max(2, round(1 / valid_fraction)), seed)
    return np.flatnonzero(folds > 0), np.flatnonzero(folds == 0)
