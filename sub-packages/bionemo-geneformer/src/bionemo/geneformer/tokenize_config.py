# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``tokenize_geneformer``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.geneformer.flag_groups import CellFlags, CountFlags, DictionaryFlags, MatrixFlags


@dataclass(frozen=True, kw_only=True)
class TokenizeGeneformerConfig(DictionaryFlags, CountFlags):
    """Rank the genes of every cell: raw counts to an Arrow dataset that datasets.load_from_disk reads."""

    data_path: Path = option(help="Raw counts: SCDL archive, .h5ad file, zarr store, 10x .h5 file or mtx folder.")
    output_path: Path = option(help="Folder to write; it appears when it is complete.")
    model: Literal["V1", "V2", "BIONEMO"] = option(help="Family of the model that the tokens are for.")
    token_dictionary: Path = option_like(DictionaryFlags, "token_dictionary")
    gene_medians: Path = option_like(DictionaryFlags, "gene_medians")
    obs_columns: tuple[str, ...] = option((), help="Columns of obs to keep beside the tokens.")
    counts_layer: str | None = option_like(MatrixFlags, "counts_layer", None)
    sum_duplicates: bool = option(True, help="Add the counts of columns of one gene; without it they are an error.")
    empty_cells: Literal["error", "skip"] = option_like(CellFlags, "empty_cells", "error")
    filter_pass: bool = option(True, help="Leave out cells whose obs column filter_pass, if there is one, is not 1.")
    seq_length: int | None = option_like(CellFlags, "seq_length", None)
    cells_per_shard: int = option(65_536, help="Cells of one data file, what a killed run loses at most.")

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        super().__post_init__()
        if self.cells_per_shard < 1:
            raise ConfigError(f"--cells-per-shard {self.cells_per_shard}: expected at least 1.")
