# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``evaluate_esm2``."""

from dataclasses import dataclass
from pathlib import Path

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.flag_groups import SharedFlags
from bionemo.llm.flag_groups import DeviceFlags, ModelSourceFlags


DATA, OUTPUT = "data", "output"


@dataclass(frozen=True, kw_only=True)
class EvaluateESM2Config(ModelSourceFlags, DeviceFlags):
    """Evaluate an ESM-2 on local data sets, beside simple baselines: one report of all of them."""

    data_path: tuple[Path, ...] = option(
        group=DATA,
        help="Data sets: .csv, .tsv or .parquet files and folders of them. By their columns: classes of residues "
        "(secondary_structure, ...), variants (mutant and DMS_score or score), splits as FLIP has them (target, set). "
        "PDB and mmCIF files of a folder are a set of contacts.",
    )
    results_path: Path = option_like(SharedFlags, "results_path")
    overwrite: bool = option_like(SharedFlags, "overwrite", False)
    max_proteins: int = option(
        5000, group=DATA, help="Proteins or variants of a data set that are used at most, drawn at random."
    )
    num_folds: int = option(5, group=DATA, help="Random folds of variants, for the methods that learn from them.")
    seed: int = option_like(SharedFlags, "seed", 42, group=DATA)

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        super().__post_init__()
        if isinstance(self.data_path, str | Path):  # from Python, one path may stand for a tuple of them
            object.__setattr__(self, "data_path", (Path(self.data_path),))
        if not self.data_path:
            raise ConfigError("--data-path: none given.")
        for name, least in (("max_proteins", 20), ("num_folds", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least {least}.")
