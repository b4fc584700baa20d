# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Picture of a contact map: predictions above the diagonal, the structure's contacts below where there is one."""

import io

import numpy as np
from numpy.typing import NDArray


def draw_contacts(
    predicted_SS: NDArray[np.float32], title: str, contacts_SS: NDArray[np.bool_] | None = None
) -> bytes:
    """Draw a map as PNG.

    Args:
        predicted_SS: Probabilities or couplings.
        title: Above the picture.
        contacts_SS: Contacts of a structure; None: the prediction on both sides of the diagonal.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num_residues = len(predicted_SS)
    apart = np.abs(np.subtract.outer(np.arange(num_residues), np.arange(num_residues))) >= 3
    far = predicted_SS[apart]
    low, high = (max(float(far.min()), 0.0), float(far.max())) if far.size else (0.0, 1.0)
    shown = np.where(apart, predicted_SS, np.nan)
    if contacts_SS is not None:
        below = np.tril(np.ones_like(contacts_SS), -1)
        shown = np.where(below, np.where(contacts_SS, high, low), shown)
    figure = Figure(figsize=(6, 5.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    ax = figure.subplots()
    extent = (0.5, num_residues + 0.5, num_residues + 0.5, 0.5)
    image = ax.imshow(
        shown, cmap="Blues", vmin=low, vmax=max(high, low + 1e-6), extent=extent, interpolation="nearest"
    )
    below_text = "" if contacts_SS is None else "; below the diagonal: contacts of the structure"
    ax.set_title(title)
    ax.set_xlabel(f"residue{below_text}")
    ax.set_ylabel("residue")
    figure.colorbar(image, ax=ax, label="predicted contact")
    buffer = io.BytesIO()
    canvas.print_figure(buffer, format="png", dpi=110)
    return buffer.getvalue()
