# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Made-up single-cell counts with something to learn: cell types that switch programs of genes on and off."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Cells:
    """Counts of some cells, and the truth they were drawn from."""

    counts: Any
    """[C, G] scipy.sparse.csr_matrix of float32 whole numbers; column indices sorted, no stored zeros."""
    gene_ids: list[str]
    """[G] synthetic Ensembl ids, ``ENSG`` and eleven digits."""
    cell_types: np.ndarray
    """[C] int64, type of each cell."""

    def to_anndata(self) -> Any:
        """The same as an AnnData object: ``obs["cell_type"]``, ``var["feature_id"]``; the counts are shared."""
        import anndata
        import pandas as pd

        obs = pd.DataFrame({"cell_type": [f"type{t}" for t in self.cell_types]}, index=_names("cell", self.counts, 0))
        var = pd.DataFrame({"feature_id": self.gene_ids}, index=_names("gene", self.counts, 1))
        return anndata.AnnData(X=self.counts, obs=obs, var=var)


def make_cells(
    num_cells: int,
    num_genes: int = 200,
    *,
    num_types: int = 4,
    counts_per_cell: float = 400.0,
    dispersion: float = 0.3,
    seed: int = 42,
) -> Cells:
    """Draw negative binomial counts around the expression profiles of a few cell types.

    All types share log-normal gene levels; each raises a program of its own, a tenth of the genes, eightfold. Which
    genes of a cell are high therefore tells its type, and the type tells the masked ones.

    Args:
        num_cells: C.
        num_genes: G.
        num_types: Number of cell types, drawn evenly.
        counts_per_cell: Mean total count of a cell; cells' depths vary by a log-normal factor (sigma 0.3).
        dispersion: Negative binomial: variance = mean + dispersion · mean².
        seed: Any integer of 0 or more.
    """
    from scipy.sparse import csr_matrix

    profile_rng, rng = (np.random.default_rng([seed, stream, 1, 1]) for stream in (1, 2))
    levels = np.tile(profile_rng.lognormal(0.0, 1.5, num_genes), (num_types, 1))
    for program in levels:
        program[profile_rng.choice(num_genes, size=max(1, num_genes // 10), replace=False)] *= 8.0
    profiles = levels / levels.sum(axis=1, keepdims=True)
    types = rng.integers(num_types, size=num_cells)
    depths = counts_per_cell * rng.lognormal(-0.045, 0.3, num_cells)  # mean of the factor: exp(-0.045 + 0.3²/2) = 1
    means = profiles[types] * depths[:, None]
    counts = rng.poisson(rng.gamma(1 / dispersion, dispersion * means)).astype(np.float32)
    return Cells(csr_matrix(counts), [f"ENSG{index:011d}" for index in range(num_genes)], types)


def _names(prefix: str, counts: Any, axis: int) -> list[str]:
    return [f"{prefix}{index}" for index in range(counts.shape[axis])]
