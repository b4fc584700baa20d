# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``geneformer_medians``."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import explicit_fields, option, option_like
from bionemo.core.errors import ConfigError, DataFileError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import SharedFlags
from bionemo.geneformer.flag_groups import CountFlags, DictionaryFlags, MatrixFlags


@dataclass(frozen=True, kw_only=True)
class GeneformerMediansConfig:
    """Compute the exact median of every gene's non-zero normalized counts over a corpus of any size."""

    exclusive: ClassVar[Exclusive] = (("any_gene_ids", ("token_dictionary",)),)

    data_path: tuple[Path, ...] = option(
        help="Raw counts: SCDL archives, .h5ad files, zarr stores, 10x .h5 files and mtx folders."
    )
    output_path: Path = option(help="Medians to write: .json, Ensembl id to median.")
    save_token_dictionary: Path | None = option(
        None, help="Also write a token dictionary of these genes, for a model trained from scratch on the corpus."
    )
    model: Literal["V1", "V2", "BIONEMO"] = option(
        "V2", help="With --save-token-dictionary: family of the model, for its special tokens."
    )
    token_dictionary: Path | None = option(None, help="Take only the genes of this dictionary; None takes all.")
    gene_mapping: Path | None = option_like(DictionaryFlags, "gene_mapping", None)
    gene_names: Path | None = option_like(DictionaryFlags, "gene_names", None)
    gene_column: str | None = option_like(CountFlags, "gene_column", None)
    counts_layer: str | None = option_like(MatrixFlags, "counts_layer", None)
    feature_type: str | None = option_like(CountFlags, "feature_type", None)
    any_gene_ids: bool = option(
        False, help="Take identifiers as they are, symbols for example, instead of Ensembl gene ids alone."
    )
    min_cells: int = option(1, help="Leave out genes with a count in fewer cells.")
    allow_fractional_counts: bool = option_like(CountFlags, "allow_fractional_counts", False)
    max_memory_mb: int = option_like(SharedFlags, "max_memory_mb", 1_000)
    overwrite: bool = option_like(SharedFlags, "overwrite", False)

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("min_cells", "max_memory_mb"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected at least 1.")
        if self.any_gene_ids and self.token_dictionary is not None:
            raise ConfigError("--any-gene-ids and --token-dictionary exclude each other: the genes are its own.")
        if not self.data_path:
            raise ConfigError("--data-path: expected at least one file or archive.")


def check_flags(config: GeneformerMediansConfig) -> None:
    """Refuse flags that contradict each other, and files that exist.

    Raises:
        ConfigError: The message names the flags.
        DataFileError: A file to write exists.
    """
    if config.save_token_dictionary is None and "model" in explicit_fields(config):
        raise ConfigError("--model belongs to --save-token-dictionary: medians are the same for all families.")
    for path in (config.output_path, config.save_token_dictionary):
        if path is not None and path.exists() and not config.overwrite:
            raise DataFileError(f"{path}: exists already. Choose another name or pass --overwrite.")
