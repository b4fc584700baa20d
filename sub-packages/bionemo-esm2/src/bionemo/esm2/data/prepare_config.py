# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``prepare_esm2_data``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import explicit_fields, option
from bionemo.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PrepareESM2DataConfig:
    """Turn a FASTA file into a sequence store, checked from end to end, in constant memory."""

    fasta: Path = option(help="Protein sequences: FASTA or FASTA.gz.")
    output_dir: Path = option(help="Folder to write; it appears when it is complete.")
    clusters: Path | None = option(
        None, help="Two columns, representative and member: a tab-separated table (.tsv, .tsv.gz) or .parquet."
    )
    format: Literal["store", "sqlite"] = option(
        "store", help="store: memory-mapped; sqlite: the established database with two parquet files."
    )
    valid_fraction: float = option(0.05, help="With --format sqlite: share of the clusters held out.")
    seed: int = option(42, help="With --format sqlite: seed of the split.")
    illegal: Literal["error", "unk"] = option("error", help="What a character outside the vocabulary is.")
    overwrite: bool = option(False, help="Replace what an earlier call wrote to --output-dir.")


def check_flags(config: PrepareESM2DataConfig) -> None:
    """Refuse flags of the split where nothing is split.

    Raises:
        ConfigError: The message names the flags.
    """
    split_flags = explicit_fields(config) & {"valid_fraction", "seed"}
    if config.format == "store" and split_flags:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(split_flags))
        raise ConfigError(f"{names} belongs to --format sqlite: a store is split when it is trained on.")
