# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``tokenize_geneformer``: counts to a token set."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.command import print_result, run_command
from bionemo.core.config import option, parse, to_mapping
from bionemo.core.errors import ConfigError


PROG = "tokenize_geneformer"
WITHOUT_EFFECT = ("output_path",)
"""Settings that leave the tokens the same."""


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


def _run(argv: Sequence[str]) -> None:
    config = parse(TokenizeGeneformerConfig, argv, prog=PROG)
    from bionemo.geneformer.data.count_cells import CountCells
    from bionemo.geneformer.data.count_sources import open_counts
    from bionemo.geneformer.data.dictionaries import load_dictionaries
    from bionemo.geneformer.data.tokenise import TokeniseOptions, tokenise
    from bionemo.geneformer.tokenizer.variants import find_variant

    cells = CountCells(
        open_counts(config.data_path, layer=config.layer),
        load_dictionaries(
            config.token_dictionary,
            config.gene_medians,
            gene_names=config.gene_names,
            gene_mapping=config.gene_mapping,
            variant=find_variant(config.model),
        ),
        max_length=config.seq_length,
        gene_column=config.gene_column,
        sum_duplicates=config.sum_duplicates,
        allow_fractions=config.allow_fractional_counts,
        min_coverage=config.min_coverage,
    )
    options = TokeniseOptions(
        obs_columns=config.obs_columns,
        empty_cells=config.empty_cells,
        filter_pass=config.filter_pass,
        cells_per_shard=config.cells_per_shard,
    )
    settings = {name: value for name, value in to_mapping(config).items() if name not in WITHOUT_EFFECT}
    tokenise(cells, config.output_path, options, plan=settings | {"files": file_stamps(config)})
    print_result(config.output_path)


def file_stamps(config: TokenizeGeneformerConfig) -> dict[str, list[int]]:
    """Size and time of the input files: a run goes on only with the same."""
    files = [config.data_path, config.token_dictionary, config.gene_medians, config.gene_mapping, config.gene_names]
    stamps = {}
    for path in files:
        if path is not None:
            stat = (path / "data.npy" if path.is_dir() else path).stat()
            stamps[str(path)] = [stat.st_size, stat.st_mtime_ns]
    return stamps


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, argv, prog=PROG)


if __name__ == "__main__":
    sys.exit(main())
