# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How many sequences of a data set are longer than a sample, and how many of their tokens an epoch leaves out."""

import logging
import math
from typing import NamedTuple

import numpy as np

from bionemo.esm2.data.packed_dataset import PackedProteinDataset


logger = logging.getLogger(__name__)

_MAX_SEQUENCES = 1_000_000
_SEQUENCES_AT_ONCE = 65_536


class CroppedCount(NamedTuple):
    """What cropping does to the sequences that were looked at."""

    num_sequences: int
    num_cropped: int
    num_tokens: int
    num_tokens_left_out: int


def count_cropped(dataset: PackedProteinDataset, *, max_sequences: int = _MAX_SEQUENCES) -> CroppedCount:
    """Count the sequences longer than ``dataset.max_seq_length`` tokens in the first epoch.

    Args:
        dataset: Training or validation set.
        max_sequences: Of a larger set, about this many evenly spaced sequences are looked at.
    """
    stride = max(1, math.ceil(len(dataset) / max_sequences))
    totals = np.zeros(4, dtype=np.int64)
    for start in range(0, len(dataset), stride * _SEQUENCES_AT_ONCE):
        idxs = np.arange(start, min(start + stride * _SEQUENCES_AT_ONCE, len(dataset)), stride, dtype=np.int64)
        lengths = dataset.source.lengths_of(dataset.rows(0, idxs))
        excess = np.maximum(lengths - dataset.max_seq_length, 0)
        totals += np.array([len(idxs), np.count_nonzero(excess), lengths.sum(), excess.sum()])
    return CroppedCount(*totals.tolist())


def log_cropped(dataset: PackedProteinDataset, name: str) -> None:
    """Log, as a warning, how many sequences are cropped, if any.

    Args:
        dataset: Training or validation set.
        name: What the message calls it.
    """
    count = count_cropped(dataset)
    if count.num_cropped:
        logger.warning(
            "%s: %d of %d sequences (%.1f %%) are longer than --max-seq-length %d tokens and are cropped to a random "
            "window in each epoch, which leaves out %.1f %% of the tokens",
            name,
            count.num_cropped,
            count.num_sequences,
            100 * count.num_cropped / count.num_sequences,
            dataset.max_seq_length,
            100 * count.num_tokens_left_out / count.num_tokens,
        )
