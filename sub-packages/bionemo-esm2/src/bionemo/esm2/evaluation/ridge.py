# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Kernel ridge regression on whole proteins: one-hot residues, amino-acid composition, embeddings, or sums of them.

A kernel is a matrix of inner products of the proteins' features, so that one-hot features of long proteins are never
laid out, and two kinds of features are put side by side by adding their kernels.

Letters: P proteins, T training proteins, X others, S longest protein, F features.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.core.randomness import Stream, rng_for


PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Multiples of the mean eigenvalue of the centered kernel."""
INNER_FRACTION, MAX_INNER = 0.2, 1500
"""Of the training proteins: the fraction on which the penalty is chosen, and how many others are fitted for that at
most. Each fit takes time by the cube of its proteins, and a penalty is a multiple of what does not depend on their
number."""


def one_hot_kernel(sequences: Sequence[bytes]) -> NDArray[np.float32]:
    """Return how many positions of two proteins hold the same residue, counted from the first one.

    Args:
        sequences: P times token ids, a byte for each residue.

    Returns:
        [P, P] float32: inner products of one-hot residues, those behind the end of a protein left out.

    >>> one_hot_kernel([b"MKT", b"MKV", b"MK"]).tolist()
    [[3.0, 2.0, 2.0], [2.0, 3.0, 2.0], [2.0, 2.0, 2.0]]
    """
    padded_PS = np.zeros((len(sequences), max(map(len, sequences))), np.uint8)
    for row, sequence in enumerate(sequences):
        padded_PS[row, : len(sequence)] = np.frombuffer(sequence, np.uint8)
    varies_S = (padded_PS != padded_PS[0]).any(axis=0)
    constant = int((padded_PS[0, ~varies_S] != 0).sum())  # equal in all: a constant of the kernel
    padded_PS = padded_PS[:, varies_S]
    kernel = np.full((len(sequences), len(sequences)), constant, np.float32)
    for residue in np.unique(padded_PS):
        if residue:
            is_residue = (padded_PS == residue).astype(np.float32)
            kernel += is_residue @ is_residue.T
    return kernel


def composition(sequences: Sequence[bytes]) -> NDArray[np.float32]:
    """Return the shares of the residues of each protein, [P, 33] float32."""
    counts = np.stack([np.bincount(np.frombuffer(sequence, np.uint8), minlength=33) for sequence in sequences])
    shares: NDArray[np.float32] = (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def standardized_kernel(features_PF: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the kernel of features with mean 0 and variance 1, divided by their number; [P, P] float32."""
    centered = features_PF - features_PF.mean(axis=0, dtype=np.float64).astype(np.float32)
    std = centered.std(axis=0)
    used = std > 1e-6 * max(float(std.max()), 1e-12)
    scaled = centered[:, used] / std[used]
    kernel: NDArray[np.float32] = scaled @ scaled.T / max(int(used.sum()), 1)
    return kernel


def scaled_to_one(kernel_PP: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a kernel so that proteins differ from their mean by 1 on average, to be added to others."""
    spread = float(np.diag(kernel_PP).mean() - kernel_PP.mean())
    return kernel_PP / spread if spread > 0 else kernel_PP


def ridge_predictions(
    kernel_PP: NDArray[np.float32],
    values: NDArray[np.floating],
    train: NDArray[np.int64],
    others: NDArray[np.int64],
    *,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Predict values by kernel ridge regression; the penalty is chosen on a fifth of the training proteins.

    Args:
        kernel_PP: Of all proteins.
        values: [P], those of training proteins are read.
        train: [T] int64.
        others: [X] int64.
        seed: Of the choice of that fifth.

    Returns:
        [X] float64.

    Raises:
        DataError: There are fewer than five training proteins.
    """
    if len(train) < 5:
        raise DataError(f"ridge regression: {len(train)} training proteins, expected at least 5.")
    shuffled = rng_for(seed, Stream.SPLIT, index=len(train)).permutation(train)
    inner, held_out = np.split(shuffled, [len(train) - max(1, int(INNER_FRACTION * len(train)))])
    errors = [
        float(((predicted - values[held_out]) ** 2).mean())
        for predicted in fit_and_predict(kernel_PP, values, inner[:MAX_INNER], held_out, PENALTIES)
    ]
    best = PENALTIES[int(np.argmin(errors))]
    (predicted,) = fit_and_predict(kernel_PP, values, train, others, (best,))
    return predicted


def fit_and_predict(
    kernel_PP: NDArray[np.float32],
    values: NDArray[np.floating],
    train: NDArray[np.int64],
    others: NDArray[np.int64],
    penalties: Sequence[float],
) -> list[NDArray[np.float64]]:
    """Fit with several penalties, each a multiple of the mean eigenvalue, and predict others: for each [X] float64."""
    kernel_TT = kernel_PP[np.ix_(train, train)].astype(np.float64)
    kernel_XT = kernel_PP[np.ix_(others, train)].astype(np.float64)
    mean_T = kernel_TT.mean(axis=0)
    centered_TT = kernel_TT - mean_T - mean_T[:, None] + mean_T.mean()
    centered_XT = kernel_XT - mean_T - kernel_XT.mean(axis=1, keepdims=True) + mean_T.mean()
    targets = values[train].astype(np.float64)
    unit = max(float(np.trace(centered_TT)) / len(train), 1e-12)
    found = []
    for penalty in penalties:
        system = centered_TT + penalty * unit * np.eye(len(train))
        weights = np.linalg.solve(system, targets - targets.mean())
        found.append(centered_XT @ weights + targets.mean())
    return found
