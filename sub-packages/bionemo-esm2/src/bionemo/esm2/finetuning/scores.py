# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How well held-out labels are predicted: metrics of one target, by torchmetrics.

Letters: X labels, C classes.
"""

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.esm2.finetuning.predictor import TargetPrediction


def target_scores(prediction: TargetPrediction, labels_XL: NDArray[np.float32]) -> dict[str, Any]:
    """Score one target.

    Args:
        prediction: Of X sequences or residues.
        labels_XL: Their labels, see `bionemo.esm2.finetuning.labels`; those that are missing do not count.

    Returns:
        Number of labels and metrics. A metric that is not defined, such as a correlation with a constant, is None.
    """
    labeled = ~np.isnan(labels_XL[:, 0])
    labels, values = labels_XL[labeled], prediction.values[labeled]
    found: dict[str, Any] = {"num_labels": int(labeled.sum())}
    if not found["num_labels"]:
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of undefined metrics, which are None
        if prediction.target.kind == "regression":
            metrics = regression_metrics(torch.from_numpy(values), torch.from_numpy(labels[:, 0]))
        else:
            assert prediction.probabilities is not None
            shares = torch.from_numpy(prediction.probabilities[labeled])
            if prediction.target.kind == "multilabel":
                metrics = multilabel_metrics(shares, torch.from_numpy(labels).long())
            else:
                metrics = class_metrics(shares, torch.from_numpy(labels[:, 0]).long())
    return found | {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def regression_metrics(values: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return correlations, root of the mean squared error and share of the variance explained, of [X] float32."""
    from torchmetrics.functional import pearson_corrcoef, r2_score, spearman_corrcoef

    residuals = values.double() - labels.double()
    several = len(labels) > 1
    return {
        "spearman": float(spearman_corrcoef(values, labels)) if several else math.nan,
        "pearson": float(pearson_corrcoef(values.double(), labels.double())) if several else math.nan,
        "rmse": float(residuals.square().mean().sqrt()),
        "r2": float(r2_score(values.double(), labels.double())) if several else math.nan,
    }


def class_metrics(shares_XC: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return accuracy, macro-F1, Matthews correlation and areas under curves, of [X, C] probabilities."""
    from torchmetrics.functional import classification as tm

    num_classes = shares_XC.shape[1]
    return {
        "accuracy": float(tm.multiclass_accuracy(shares_XC, labels, num_classes, average="micro")),
        "macro_f1": float(tm.multiclass_f1_score(shares_XC, labels, num_classes, average="macro")),
        "mcc": float(tm.multiclass_matthews_corrcoef(shares_XC, labels, num_classes)),
        "auroc": float(tm.multiclass_auroc(shares_XC, labels, num_classes, thresholds=200)),
        "average_precision": float(tm.multiclass_average_precision(shares_XC, labels, num_classes, thresholds=200)),
    }


def multilabel_metrics(shares_XC: torch.Tensor, labels_XC: torch.Tensor) -> dict[str, float]:
    """Return macro-F1, exact matches and areas under curves, of [X, C] probabilities."""
    from torchmetrics.functional import classification as tm

    num_classes = shares_XC.shape[1]
    return {
        "macro_f1": float(tm.multilabel_f1_score(shares_XC, labels_XC, num_classes, average="macro")),
        "exact_match": float(tm.multilabel_exact_match(shares_XC, labels_XC, num_classes)),
        "auroc": float(tm.multilabel_auroc(shares_XC, labels_XC, num_classes, thresholds=200)),
        "average_precision": float(tm.multilabel_average_precision(shares_XC, labels_XC, num_classes, thresholds=200)),
    }
