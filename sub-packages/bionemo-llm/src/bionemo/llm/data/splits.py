# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Dividing a data set into training and validation."""

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError
from bionemo.core.randomness import Stream, hash_words


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
