# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of held-out predictions: confusion matrix and curves of classes, scatter of values.

Letters: X labels, L columns of labels, C classes.
"""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.files import write_bytes
from bionemo.esm2.finetuning.predictor import TargetPrediction


logger = logging.getLogger(__name__)

MAX_CLASSES = 30
"""Of a confusion matrix; more would not be read."""
MAX_CURVES = 10
MAX_POINTS = 20_000
_COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#000000",
    "#888888",
    "#7570B3",
)


def draw_pictures(folder: Path, prediction: TargetPrediction, labels_XL: NDArray[np.float32], suffix: str) -> None:
    """Draw what fits the target: ``scatter.png``, or ``confusion.png`` and ``curves.png`` (ROC, precision-recall).

    Args:
        folder: Where to.
        prediction: Of X sequences or residues.
        labels_XL: Their labels.
        suffix: Behind the names.
    """
    labeled = ~np.isnan(labels_XL[:, 0])
    if not labeled.any():
        return
    labels, values = labels_XL[labeled], prediction.values[labeled]
    try:
        if prediction.target.kind == "regression":
            draw_scatter(folder / f"scatter{suffix}.png", prediction.target.column, labels[:, 0], values)
            return
        classes = prediction.target.classes
        assert prediction.probabilities is not None
        shares = prediction.probabilities[labeled]
        is_class = labels > 0.5
        if prediction.target.kind == "classification":
            numbers = labels[:, 0].astype(np.int64)
            is_class = numbers[:, None] == np.arange(len(classes))
            if len(classes) <= MAX_CLASSES:
                counts = np.bincount(numbers * len(classes) + values, minlength=len(classes) ** 2)
                draw_confusion(folder / f"confusion{suffix}.png", counts.reshape(len(classes), -1), classes)
        draw_curves(folder / f"curves{suffix}.png", is_class, shares, classes)
    except Exception as error:  # noqa: BLE001 a picture never ends a run
        logger.warning("%s: not drawn (%s)", folder, error)


def draw_scatter(path: Path, name: str, labels: NDArray[np.float32], values: NDArray[np.float32]) -> None:
    """Draw predicted over measured values; of many points a part, evenly taken."""
    figure, axes = _figure(1, (5.2, 5.0))
    step = -(-len(labels) // MAX_POINTS)
    axes[0].scatter(labels[::step], values[::step], s=9, alpha=0.5, linewidths=0, color=_COLORS[0])
    both = np.concatenate([labels, values])
    low, high = float(both.min()), float(both.max())
    axes[0].plot([low, high], [low, high], color="#333333", linestyle=(0, (5, 3)), linewidth=1.0)
    axes[0].set(xlabel=f"{name}, measured", ylabel=f"{name}, predicted", title=f"{len(labels)} held-out values")
    _save(figure, path)


def draw_confusion(path: Path, counts_CC: NDArray[np.int64], classes: tuple[str, ...]) -> None:
    """Draw how often each class (row) was predicted as each class (column), as shares of the row with counts."""
    size = max(4.0, 0.55 * len(classes) + 2.2)
    figure, axes = _figure(1, (size + 1.0, size))
    shares = counts_CC / counts_CC.sum(axis=1, keepdims=True).clip(min=1)
    image = axes[0].imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for row, column in np.ndindex(*counts_CC.shape):
        color = "white" if shares[row, column] > 0.6 else "#222222"
        axes[0].text(column, row, f"{counts_CC[row, column]}", ha="center", va="center", fontsize=7, color=color)
    axes[0].set_xticks(range(len(classes)), classes, rotation=45 if max(map(len, classes)) > 3 else 0)
    axes[0].set_yticks(range(len(classes)), classes)
    axes[0].set(xlabel="predicted", ylabel="true", title="Held-out labels")
    figure.colorbar(image, ax=axes[0], label="share of the true class", shrink=0.8)
    _save(figure, path)


def draw_curves(
    path: Path, is_class_XC: NDArray[np.bool_], shares_XC: NDArray[np.float32], classes: tuple[str, ...]
) -> None:
    """Draw ROC and precision-recall curves, each class against all others, of the most frequent classes."""
    figure, axes = _figure(2, (10.5, 4.8))
    frequent = np.argsort(-is_class_XC.sum(axis=0), kind="stable")[:MAX_CURVES]
    for color, number in zip(_COLORS, np.sort(frequent).tolist(), strict=False):
        truth = is_class_XC[:, number]
        if not 0 < truth.sum() < len(truth):
            continue
        hits, false_alarms = cumulative_hits(truth, shares_XC[:, number])
        recall = hits / truth.sum()
        x = np.concatenate([[0.0], false_alarms / (~truth).sum()])
        y = np.concatenate([[0.0], recall])
        area = float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())
        axes[0].plot(x, y, color=color, linewidth=1.4, label=f"{classes[number]}  {area:.3f}")
        precision = hits / (hits + false_alarms)
        average = float((np.diff(recall, prepend=0.0) * precision).sum())
        axes[1].plot(recall, precision, color=color, linewidth=1.4, label=f"{classes[number]}  {average:.3f}")
    axes[0].plot([0, 1], [0, 1], color="#888888", linestyle=(0, (5, 3)), linewidth=1.0)
    axes[0].set(xlabel="false positive rate", ylabel="true positive rate", title="ROC (area under the curve)")
    axes[1].set(xlabel="recall", ylabel="precision", title="Precision-recall (average precision)", ylim=(0.0, 1.02))
    for axis in axes:
        axis.legend(fontsize=8, frameon=False)
    _save(figure, path)


def cumulative_hits(
    truth: NDArray[np.bool_], scores: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return true and false positives at each distinct threshold, from the highest score on.

    >>> [x.tolist() for x in cumulative_hits(np.array([True, False, True]), np.array([0.9, 0.5, 0.5], np.float32))]
    [[1, 2], [0, 1]]
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits = np.cumsum(truth[order])[ends]
    return hits, ends + 1 - hits


def _figure(num_axes: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, num_axes, squeeze=False)[0])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    write_bytes(path, picture.getvalue())
