# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Representations of the same cells side by side, as UMAPs.

Letters: C cells.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bionemo.core.files import atomic_file


MAX_COLORS = 20


def save_umaps(
    path: Path,
    projections: Mapping[str, NDArray[np.float32]],
    groups: Mapping[str, NDArray[np.str_]],
) -> None:
    """Draw each projection once for each grouping of its cells.

    Args:
        path: PNG to write, atomically.
        projections: Name to [C, 2].
        groups: Name, such as that of an obs column, to [C] labels.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num_rows, num_columns = len(groups), len(projections)
    figure = Figure(figsize=(4.2 * num_columns + 2.5, 4.0 * num_rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(num_rows, num_columns, squeeze=False)
    for row, (group_name, labels) in enumerate(groups.items()):
        names, codes = np.unique(labels, return_inverse=True)
        palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
        for column, (name, points_C2) in enumerate(projections.items()):
            axis = axes[row, column]
            for code, label in enumerate(names):
                chosen = points_C2[codes == code]
                color = palette(code % MAX_COLORS)
                axis.scatter(chosen[:, 0], chosen[:, 1], s=6, linewidths=0, color=color, label=str(label))
            axis.set(xticks=[], yticks=[], title=name, xlabel="UMAP 1", ylabel="UMAP 2")
        axes[row, -1].legend(
            title=group_name, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, markerscale=2.5, fontsize=8
        )
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110)
