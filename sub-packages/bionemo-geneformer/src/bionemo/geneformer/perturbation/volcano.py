# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Volcano plot: how far each gene's perturbation shifts cells, and how surprising that is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo.core.errors import ConfigError
from bionemo.core.files import write_bytes


if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from bionemo.geneformer.perturbation.statistics import Table


# Shift column, rate column, what the shift is.
_AXES = (
    ("Shift_to_goal_end", "Goal_end_FDR", "mean shift towards the goal state (cosine)"),
    ("Test_vs_null_avg_shift", "Test_vs_null_FDR", "mean shift in test cells minus that in null cells (cosine)"),
)
_MAX_LABELS = 12
_MIN_CAP = 10.0
"""Heights below are always drawn where they are: an FDR of 1e-10."""

# Okabe and Ito's palette: told apart with every common kind of colour vision, and in grey.
_TOWARDS, _AWAY, _OTHER, _LINE = "#D55E00", "#0072B2", "#BBBBBB", "#888888"


def has_volcano(table: Table) -> bool:
    """Whether a table of statistics has the shifts and rates to draw."""
    return any(shift in table and rate in table for shift, rate, _ in _AXES)


def save_volcano(table: Table, png_path: str | os.PathLike[str], *, max_fdr: float = 0.05) -> None:
    """Draw the volcano plot of a table of statistics.

    Args:
        table: As ``compute_statistics`` gives it for ``goal_state_shift`` over all genes or for ``vs_null``.
        png_path: The picture, 1,200 x 900 pixels, written atomically.
        max_fdr: Height of the horizontal line.

    Raises:
        ConfigError: The table has no false discovery rates.
        DataFileError: The picture cannot be written.
    """
    # Figure instead of pyplot: no global state, no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 6.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    draw_volcano(figure, table, max_fdr=max_fdr)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    write_bytes(png_path, picture.getvalue())


def draw_volcano(figure: Figure, table: Table, *, max_fdr: float = 0.05) -> Axes:
    """Fill a figure; see :func:`save_volcano`. Returns its axes."""
    if not has_volcano(table):
        raise ConfigError(f"A volcano plot needs shifts with false discovery rates, found {list(table)}.")
    shift_column, rate_column, meaning = next(axis for axis in _AXES if axis[0] in table)
    shifts, heights = table[shift_column], significance(table[rate_column])
    cap = height_cap(heights)
    is_capped, heights = heights > cap, np.minimum(heights, cap)
    significant = table["Sig"] == 1
    few = table["Few_detections"] == 1
    axes = figure.add_subplot()
    for rows, color, text in (
        (~significant, _OTHER, f"FDR of {max_fdr:g} and more"),
        (significant & (shifts > 0), _TOWARDS, "significant, positive"),
        (significant & (shifts <= 0), _AWAY, "significant, negative"),
    ):
        for part, face, note in ((rows & ~few, color, ""), (rows & few, "none", ", few detections")):
            if part.any():
                axes.scatter(
                    shifts[part],
                    heights[part],
                    s=16,
                    facecolors=face,
                    edgecolors=color,
                    linewidths=0.9,
                    label=f"{text}{note} ({int(part.sum())})",
                )
    if is_capped.any():
        axes.scatter(
            shifts[is_capped], heights[is_capped], s=40, marker="^", color=_LINE, zorder=0,
            label=f"FDR below {10**-cap:.0e} ({int(is_capped.sum())})",
        )  # fmt: skip
    axes.axhline(-np.log10(max_fdr), color=_LINE, linestyle=(0, (5, 3)), linewidth=1)
    axes.axvline(0, color=_LINE, linewidth=0.8)
    axes.set_xlabel(meaning)
    axes.set_ylabel("-log10 of the false discovery rate")
    axes.set_title(f"{len(shifts)} perturbed genes, {int(significant.sum())} significant", loc="left", fontsize=12)
    axes.margins(x=0.1, y=0.12)
    axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    _name_genes(axes, table, shifts, heights, significant)
    return axes


def significance(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """-log10 of false discovery rates; one of 0 stands as high as the smallest that a float can hold."""
    return -np.log10(np.maximum(np.nan_to_num(rates, nan=1.0), np.finfo(np.float64).tiny))


def height_cap(heights: NDArray[np.float64]) -> float:
    """Largest height that is drawn: twice the 95th percentile, at least 10, so that few genes do not flatten the rest.

    >>> height_cap(np.array([0.5, 1.0, 2.0, 307.0]))
    10.0
    """
    low = heights[heights < np.quantile(heights, 0.95, method="higher")]
    return max(_MIN_CAP, 2 * float(low.max(initial=0.0)))


def _name_genes(
    axes: Axes, table: Table, shifts: NDArray[np.float64], heights: NDArray[np.float64], significant: NDArray[Any]
) -> None:
    """Write names beside dots: the most significant genes, without any the largest effects; none over another."""
    if significant.any():
        order = np.lexsort((-np.abs(shifts), -heights))
        order = order[significant[order]]
    else:
        order = np.argsort(-np.abs(shifts), kind="stable")
    axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]  # places the axes, so that extents are final
    taken: list[Any] = []
    for row in order[:_MAX_LABELS]:
        is_right = shifts[row] > 0
        label = axes.annotate(
            str(table["Gene_name"][row]),
            (shifts[row], heights[row]),
            xytext=(0, 0),
            textcoords="offset points",
            horizontalalignment="left" if is_right else "right",
            verticalalignment="center",
            fontsize=8,
        )
        for rise in (0, 10, -10, 20, -20, 30, -30, 40, -40):
            label.xyann = (7 if is_right else -7, rise)
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
        else:
            label.remove()
