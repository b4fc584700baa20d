# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What can be predicted without a model: how often each gene is a token in the training cells.

A model that has learned nothing but these frequencies reaches their cross-entropy; below it, it knows more.
"""

import math

import numpy as np
from numpy.typing import NDArray

from bionemo.geneformer.data.packed_cells import PackedCellDataset


_CELLS_AT_ONCE = 4096


def gene_counts(dataset: PackedCellDataset, *, max_tokens: int = 100_000_000) -> NDArray[np.int64]:
    """Count the tokens of a data set's cells.

    Args:
        dataset: Training or validation cells.
        max_tokens: About how many to count: of a larger set, evenly spaced cells are taken.

    Returns:
        [V] int64 by token id, zero for special tokens.
    """
    probe = np.linspace(0, len(dataset) - 1, num=min(len(dataset), _CELLS_AT_ONCE)).astype(np.int64)
    mean_length = float(dataset.token_lengths(0, probe).mean())
    stride = max(1, math.ceil(len(dataset) * mean_length / max_tokens))
    counts = np.zeros(dataset.tokenizer.vocab_size, dtype=np.int64)
    idxs = np.arange(0, len(dataset), stride, dtype=np.int64)
    for start in range(0, len(idxs), _CELLS_AT_ONCE):
        cells = dataset.read_records(0, dataset.records(idxs[start : start + _CELLS_AT_ONCE]))
        counts += np.bincount(cells.tokens, minlength=len(counts))
    counts[dataset.tokenizer.all_special_ids] = 0
    return counts


def frequency_cross_entropy(train: PackedCellDataset, valid: PackedCellDataset) -> float:
    """Compute the unigram cross-entropy of the validation genes in nats per token.

    One is added to the count of every gene: one that occurs in the validation cells alone would else cost infinitely
    much.
    """
    frequencies = gene_counts(train).astype(np.float64)
    genes = train.tokenizer.gene_token_ids
    frequencies[genes.start : genes.stop] += 1.0
    frequencies /= frequencies.sum()
    counts = gene_counts(valid)
    seen = counts > 0
    return float(-(counts[seen] * np.log(frequencies[seen])).sum() / counts.sum())
