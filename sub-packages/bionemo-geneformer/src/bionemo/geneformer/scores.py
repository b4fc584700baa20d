# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How well labels are predicted."""

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """[classes, classes] how often each true class (row) was predicted as each class (column)."""
    counts = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def classification_scores(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int
) -> dict[str, float]:
    """Measure accuracy and macro-F1.

    Macro-F1 is the mean, over the classes that occur or are predicted, of the harmonic mean of precision and recall.
    """
    counts = confusion_matrix(truth, predicted, num_classes)
    hits = np.diag(counts)
    occurrences = counts.sum(axis=0) + counts.sum(axis=1)
    seen = occurrences > 0
    return {
        "accuracy": float(hits.sum() / max(counts.sum(), 1)),
        "macro_f1": float((2 * hits[seen] / occurrences[seen]).mean()) if seen.any() else float("nan"),
    }


def regression_scores(truth: NDArray[np.floating], predicted: NDArray[np.floating]) -> dict[str, float]:
    """Root of the mean squared error, share of the variance explained, and Pearson's correlation."""
    residuals = predicted.astype(np.float64) - truth
    deviations = truth - truth.mean(dtype=np.float64)
    variance = float((deviations**2).sum())
    spread = float(np.sqrt(variance * ((predicted - predicted.mean(dtype=np.float64)) ** 2).sum()))
    return {
        "rmse": float(np.sqrt((residuals**2).mean())),
        "r2": 1.0 - float((residuals**2).sum()) / variance if variance else float("nan"),
        "pearson": float((deviations * (predicted - predicted.mean())).sum()) / spread if spread else float("nan"),
    }
