# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cutting a cell to a length."""

import numpy as np
from numpy.typing import NDArray


def sample_or_truncate(
    gene_ids: NDArray[np.integer], max_length: int, sample: bool = True, *, rng: np.random.Generator | None = None
) -> NDArray[np.integer]:
    """Return at most `max_length` genes of a cell.

    Args:
        gene_ids: [K] ids, highest ranked first.
        max_length: How many to keep.
        sample: Whether to draw them at random, in random order, instead of keeping the first.
        rng: Of the draw; unseeded unless given.

    Returns:
        [min(K, max_length)] ids; the input itself where it is short enough.
    """
    if len(gene_ids) <= max_length:
        return gene_ids
    if not sample:
        return gene_ids[:max_length]
    return (rng or np.random.default_rng()).choice(gene_ids, size=max_length, replace=False)
