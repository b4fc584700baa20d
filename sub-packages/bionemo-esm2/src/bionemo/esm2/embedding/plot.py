# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``embeddings.html``: what ``infer_esm2`` has written of whole proteins, in two dimensions."""

from pathlib import Path
from typing import Literal

import numpy as np

from bionemo.esm2.embedding.results import open_embeddings
from bionemo.llm.figures.projection import project_pca, project_umap
from bionemo.llm.figures.scatter_page import scatter_page


PLOT_NAME = "embeddings.html"
PLOT_EXTRA = "bionemo-esm2[analysis]"
MAX_POINTS = 20_000


def plot_embeddings(path: Path, name: str, method: Literal["umap", "pca"], *, seed: int = 42) -> str:
    """Build the page of results; the points are colored by the length of the proteins.

    Args:
        path: Folder with ``sequences.parquet`` or ``sequences/``.
        name: Which embedding, for example ``mean``.
        method: Projection.
        seed: Of UMAP, and of the choice where there are more than ``MAX_POINTS`` proteins.

    Returns:
        The HTML.
    """
    found = open_embeddings(path, name)
    chosen = np.arange(len(found))
    if len(chosen) > MAX_POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MAX_POINTS, replace=False))
    features = found.matrix()[chosen]
    if method == "umap" and len(chosen) > 3:  # of fewer there are no neighbors to speak of
        points, axes = project_umap(features, seed=seed, extra=PLOT_EXTRA), ("UMAP 1", "UMAP 2")
    else:
        components = project_pca(features)
        points = components.points
        shares = [f"{100 * share:.1f} % of the variance" for share in components.explained]
        axes = (f"principal component 1 ({shares[0]})", f"principal component 2 ({shares[1]})")
    of_all = "" if len(chosen) == len(found) else f" of {len(found):,}, drawn at random"
    return scatter_page(
        points,
        {
            "id": [found.ids[place] for place in chosen],
            "row": found.rows[chosen].tolist(),
            "length": found.lengths[chosen].tolist(),
        },
        title=f"Embeddings ({name}) of {len(chosen):,} proteins{of_all}",
        axes=axes,
        color_by="length",
        note="Point at a protein to see its id. The wheel zooms.",
    )
