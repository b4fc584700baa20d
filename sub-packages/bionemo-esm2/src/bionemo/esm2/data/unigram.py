# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Unigram baseline: residue frequencies of a training set, and their cross-entropy on other sequences.

A model that has learned nothing but how frequent each residue is reaches this value; below it, it knows more.
"""

import math

import numpy as np
from numpy.typing import NDArray

from bionemo.esm2.data.packed_dataset import PackedProteinDataset
from bionemo.esm2.data.tokenizer import ORDINARY_IDS, VOCABULARY


_SEQUENCES_AT_ONCE = 4096


def residue_counts(dataset: PackedProteinDataset, *, max_residues: int = 100_000_000) -> NDArray[np.int64]:
    """Count the residues of a data set's sequences (in the first epoch, where it has clusters), uncropped.

    Args:
        dataset: Training or validation set.
        max_residues: About how many to count: of a larger set, evenly spaced sequences are taken.

    Returns:
        [33] int64 by token id, zero for everything that is no ordinary residue.
    """
    probe = np.linspace(0, len(dataset) - 1, num=min(len(dataset), _SEQUENCES_AT_ONCE)).astype(np.int64)
    mean_length = float(dataset.source.lengths_of(dataset.rows(0, probe)).mean())
    stride = max(1, math.ceil(len(dataset) * mean_length / max_residues))
    counts = np.zeros(len(VOCABULARY), dtype=np.int64)
    for start in range(0, len(dataset), stride * _SEQUENCES_AT_ONCE):
        idxs = np.arange(start, min(start + stride * _SEQUENCES_AT_ONCE, len(dataset)), stride, dtype=np.int64)
        counts += np.bincount(dataset.source.gather(dataset.rows(0, idxs)), minlength=len(VOCABULARY))
    ordinary = np.zeros_like(counts)
    ordinary[ORDINARY_IDS.start : ORDINARY_IDS.stop] = counts[ORDINARY_IDS.start : ORDINARY_IDS.stop]
    return ordinary


def residue_frequencies(dataset: PackedProteinDataset) -> NDArray[np.float64]:
    """[33] float64 by token id, summing to 1: `residue_counts` plus one for each ordinary residue, normalized.

    The one added keeps a residue that occurs in the validation set alone from costing infinitely much.
    """
    counts = residue_counts(dataset).astype(np.float64)
    counts[ORDINARY_IDS.start : ORDINARY_IDS.stop] += 1.0
    frequencies: NDArray[np.float64] = counts / counts.sum()
    return frequencies


def unigram_cross_entropy(train: PackedProteinDataset, valid: PackedProteinDataset) -> float:
    """Cross-entropy, in nats per residue, of the validation residues under the training residue frequencies."""
    counts = residue_counts(valid)
    frequencies = residue_frequencies(train)
    seen = counts > 0
    return float(-(counts[seen] * np.log(frequencies[seen])).sum() / counts.sum())
