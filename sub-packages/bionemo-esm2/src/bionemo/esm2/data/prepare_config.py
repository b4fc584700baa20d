# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``prepare_esm2_data``."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import explicit_fields, option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import SharedFlags
from bionemo.esm2.data.fasta_flags import FastaFlags, paths_of


@dataclass(frozen=True, kw_only=True)
class PrepareESM2DataConfig(FastaFlags):
    """Turn FASTA files into a sequence store, checked from end to end, in constant memory."""

    exclusive: ClassVar[Exclusive] = (("format=store", ("valid_fraction", "seed")),)

    fasta: tuple[Path, ...] = option(
        help="Protein sequences: FASTA files, folders of them, pipes, or - for standard input; plain, .gz, .bz2, .xz "
        "or .zst."
    )
    output_dir: Path = option(help="Folder to write; it appears when it is complete.")
    clusters: Path | None = option(
        None, help="Two columns, representative and member: a tab-separated table (.tsv, .tsv.gz) or .parquet."
    )
    format: Literal["store", "sqlite"] = option(
        "store", help="store: memory-mapped; sqlite: BioNeMo 2 compatible database with two parquet files."
    )
    valid_fraction: float = option_like(SharedFlags, "valid_fraction", 0.05)
    seed: int = option_like(SharedFlags, "seed", 42)
    overwrite: bool = option_like(SharedFlags, "overwrite", False)

    def __post_init__(self) -> None:
        """Accept one path in place of a tuple of them, from Python."""
        object.__setattr__(self, "fasta", paths_of(self.fasta))


def check_flags(config: PrepareESM2DataConfig) -> None:
    """Refuse flags of the split where nothing is split.

    Raises:
        ConfigError: The message names the flags.
    """
    split_flags = explicit_fields(config) & {"valid_fraction", "seed"}
    if config.format == "store" and split_flags:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(split_flags))
        raise ConfigError(f"{names} belongs to --format sqlite: a store is split when it is trained on.")
