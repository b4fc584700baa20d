# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``evaluate_geneformer``."""

from dataclasses import dataclass
from pathlib import Path

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.flag_groups import SharedFlags
from bionemo.geneformer.flag_groups import CellFlags, CountFlags


@dataclass(frozen=True, kw_only=True)
class EvaluateGeneformerConfig:
    """Classify cell types by embeddings, by principal components and from variable genes, on the same folds."""

    data_path: Path = option(
        help="Raw counts with cell types in obs: SCDL archive, .h5ad, zarr store, 10x .h5 or mtx folder."
    )
    embeddings_path: tuple[str, ...] = option(
        help="Embeddings by cell id: folders of infer_geneformer or .h5ad files with X_geneformer; or NAME=PATH."
    )
    label_column: str = option_like(CellFlags, "label_column")
    results_path: Path = option_like(SharedFlags, "results_path")
    batch_column: str | None = option(None, help="Column of obs with batches, to measure how they mix.")
    id_column: str | None = option_like(CellFlags, "id_column", None)
    counts_layer: str | None = option_like(CountFlags, "counts_layer", None)
    feature_type: str | None = option_like(CountFlags, "feature_type", None)
    num_folds: int = option(5, help="Folds of the stratified cross-validation.")
    num_components: int = option(50, help="Principal components of the baseline.")
    num_variable_genes: int = option(2_000, help="Genes of the baseline of variable genes.")
    max_cells: int = option_like(CellFlags, "max_cells", 20_000)
    umap: bool = option(True, help="Draw umap.png.")
    seed: int = option_like(SharedFlags, "seed", 42)

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        for name, least in (("num_folds", 2), ("num_components", 1), ("num_variable_genes", 1), ("max_cells", 10)):
            if getattr(self, name) < least:
                raise ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least {least}.")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"--seed {self.seed}: must lie between 0 and 2**32 - 1.")
        if not self.embeddings_path:
            raise ConfigError("--embeddings-path: expected at least one.")
