# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``loss.png`` of a run directory: what the model has learned so far, drawn from ``metrics.csv``."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bionemo.core.files import write_bytes
from bionemo.llm.training.metrics_csv import read_metrics


if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


RESIDUE_FREQUENCIES_LABEL = "training residue frequencies (cross-entropy)"


class PlotTexts(NamedTuple):
    """What the picture says about a loss."""

    title: str = "Masked-language-model loss (lower is better)"
    loss_label: str = "loss (nats per predicted token)"
    """Label of the vertical axis: the quantity and its unit."""


MASKED_LM_TEXTS = PlotTexts()

# Okabe and Ito's palette: told apart with every common kind of colour vision, and in grey.
_TRAIN, _VALID, _MASKED, _LINE, _FAINT = "#56B4E9", "#E69F00", "#0072B2", "#333333", "#888888"


def draw_loss_plot(
    metrics_path: str | os.PathLike[str],
    png_path: str | os.PathLike[str],
    *,
    reference_line: float | None = None,
    reference_label: str = RESIDUE_FREQUENCIES_LABEL,
    texts: PlotTexts = MASKED_LM_TEXTS,
) -> None:
    """Draw training and validation loss over the steps, and the loss of knowing nothing but frequencies.

    Only the validation loss with every selected position masked compares with the line: the training objective leaves
    some selected residues readable in the input.

    Args:
        metrics_path: ``metrics.csv`` of a run, finished or under way. One row suffices; columns may be empty.
        png_path: The picture, 1,350 x 825 pixels, written atomically.
        reference_line: Height of the horizontal line in nats; None draws none.
        reference_label: What the line means.
        texts: Title and label of the vertical axis.

    Raises:
        MissingFileError: There is no ``metrics_path``.
        FormatError: It is not a metrics file.
        DataFileError: The picture cannot be written.
    """
    # Figure instead of pyplot: no global state, no display, nothing left open in a process that goes on training.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    draw_losses(figure, read_metrics(metrics_path), reference_line, reference_label, texts)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    write_bytes(png_path, picture.getvalue())


def draw_losses(
    figure: Figure,
    metrics: dict[str, np.ndarray],
    reference_line: float | None,
    reference_label: str,
    texts: PlotTexts = MASKED_LM_TEXTS,
) -> Axes:
    """Fill a figure; ``metrics`` are the columns of ``read_metrics``. Returns the axes with the curves."""
    from matplotlib.ticker import MaxNLocator

    axes = figure.add_subplot()
    steps, losses = _points(metrics, "train_loss")
    train = (steps, smoothed(losses, window=len(losses) // 50))
    valid, masked = _points(metrics, "val_loss"), _points(metrics, "val_loss_masked")

    axes.plot(steps, losses, color=_TRAIN, alpha=0.35, linewidth=0.8)
    _plot_curve(axes, train, _TRAIN, 1.8, "training")
    _plot_curve(axes, valid, _VALID, 1.8, "validation")
    _plot_curve(axes, masked, _MASKED, 2.2, "validation, every selected position masked")
    line = [] if reference_line is None else [reference_line]
    for height in line:
        axes.axhline(height, color=_LINE, linestyle=(0, (5, 3)), linewidth=1.3, label=reference_label)
    _limit_height(axes, np.concatenate([train[1], valid[1], masked[1], line]))
    for height in line:
        _say_distance(axes, masked, height)

    axes.set_xlim(*_step_range(metrics["step"]))
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(texts.loss_label)
    axes.set_title(texts.title, loc="left", fontsize=12)
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    _add_token_axis(axes, *_points(metrics, "consumed_tokens"))
    return axes


def smoothed(values: np.ndarray, *, window: int) -> np.ndarray:
    """Centred moving average; near the ends it averages what there is.

    Args:
        values: [R] float64.
        window: Entries on each side; 0 changes nothing.

    Returns:
        [R] float64.
    """
    ends = np.arange(len(values)) + window + 1
    starts = np.maximum(ends - 2 * window - 1, 0)
    ends = np.minimum(ends, len(values))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def _points(metrics: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a column, without empty, infinite and undefined cells."""
    values = metrics.get(name, np.full(len(metrics["step"]), np.nan))
    usable = np.isfinite(values)
    return metrics["step"][usable], values[usable]


def _plot_curve(axes: Axes, points: tuple[np.ndarray, np.ndarray], color: str, linewidth: float, label: str) -> None:
    """Draw a curve with dots where they can be told apart; a line through one point would be invisible."""
    if len(points[0]) == 0:
        return
    marker = "o" if len(points[0]) <= 40 else ""
    axes.plot(*points, color=color, linewidth=linewidth, marker=marker, markersize=2.4 * linewidth, label=label)


def _say_distance(axes: Axes, masked: tuple[np.ndarray, np.ndarray], reference_line: float) -> None:
    """Write at the last masked validation loss how far it is from the line, where the line does not cross the text."""
    steps, losses = masked
    if len(steps) == 0:
        return
    distance = reference_line - losses[-1]
    is_over = distance < 0  # on the side away from the line, where a falling curve leaves room
    axes.annotate(
        f"{losses[-1]:.3f}\n{abs(distance):.3f} {'below' if distance >= 0 else 'above'} the line",
        (steps[-1], losses[-1]),
        xytext=(0, 9 if is_over else -9),
        textcoords="offset points",
        horizontalalignment="right",
        verticalalignment="bottom" if is_over else "top",
        fontsize=9,
        color=_MASKED,
    )


def _limit_height(axes: Axes, heights: np.ndarray) -> None:
    """Show all curves with room for the legend; one wild training step may leave the picture."""
    if len(heights) == 0:
        return
    low, high = float(heights.min()), float(heights.max())
    span = max(high - low, 0.05)
    bottom = low - 0.18 * span
    # Cross-entropy and squared error have no values below 0: the axis shows none.
    axes.set_ylim(max(bottom, 0.0) if low >= 0 else bottom, high + 0.25 * span)


def _step_range(steps: np.ndarray) -> tuple[float, float]:
    if len(steps) == 0:
        return 0.0, 1.0
    first, last = float(steps.min()), float(steps.max())
    margin = max(0.02 * (last - first), 0.5)
    return first - margin, last + margin


def _add_token_axis(axes: Axes, steps: np.ndarray, tokens: np.ndarray) -> None:
    """A second axis on top: how many tokens the model had seen at the steps below."""
    if len(steps) == 0:
        return
    # Every run begins with no token at step 0.
    steps, tokens = np.concatenate([[0], steps]), np.concatenate([[0.0], tokens])
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if max(low, 0) <= tick <= min(high, steps[-1])]
    top = axes.secondary_xaxis("top")
    top.set_xticks(ticks, [_short_count(np.interp(tick, steps, tokens)) for tick in ticks], color=_FAINT, fontsize=8)
    top.set_xlabel("tokens seen", color=_FAINT, fontsize=9, loc="right")
    top.spines["top"].set_visible(False)
    top.tick_params(length=0)


def _short_count(count: float) -> str:
    """A count in a few characters: 980, 12k, 3.4M, 2.1B, 1T."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}" if count < 1000 * size else f"{count / size:.0f}{unit}"
    return f"{count:.0f}"
