# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``tokenize_geneformer``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import option
from bionemo.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TokenizeGeneformerConfig:
    """Rank the genes of every cell: raw counts to an Arrow dataset that datasets.load_from_disk reads."""

    data_path: Path = option(help="Raw counts: an .h5ad file or an SCDL archive.")
    output_path: Path = option(help="Folder to write; it appears when it is complete.")
    model: Literal["V1", "V2", "BIONEMO"] = option(help="Family of the model that the tokens are for.")
    token_dictionary: Path = option(help="Ensembl id to token: .json, .json.gz, .pkl, or a saved geneformer.vocab.")
    gene_medians: Path = option(help="Ensembl id to median over a corpus, of the dictionary's version.")
    gene_mapping: Path | None = option(
        None, help="Identifier in the data to human gene: other species, retired or alternative ids."
    )
    gene_names: Path | None = option(None, help="Gene symbol to Ensembl id, for data with symbols.")
    obs_columns: tuple[str, ...] = option((), help="Columns of obs to keep beside the tokens.")
    layer: str | None = option(
        None, help="With an .h5ad file: key of layers, or X; None is raw.X where there is one, else X."
    )
    gene_column: str | None = option(None, help="Column of var that identifies genes; None finds the best known one.")
    sum_duplicates: bool = option(True, help="Add the counts of columns of one gene; without it they are an error.")
    empty_cells: Literal["error", "skip"] = option("error", help="What to do about a cell without known genes.")
    filter_pass: bool = option(True, help="Leave out cells whose obs column filter_pass, if there is one, is not 1.")
    allow_fractional_counts: bool = option(False, help="Accept counts that are not whole, such as corrected ones.")
    min_coverage: float = option(0.3, help="Share of the counts, 0 to 1, that known genes must hold.")
    seq_length: int | None = option(None, help="Longest cell in tokens; None is the model's, 2048 or 4096 (V2).")
    cells_per_shard: int = option(65_536, help="Cells of one data file, what a killed run loses at most.")

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.min_coverage <= 1:
            raise ConfigError(f"--min-coverage {self.min_coverage}: expected a share from 0 to 1.")
        if self.cells_per_shard < 1:
            raise ConfigError(f"--cells-per-shard {self.cells_per_shard}: expected at least 1.")
