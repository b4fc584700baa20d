# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``consolidate_checkpoint``."""

from dataclasses import dataclass
from pathlib import Path

from bionemo.core.config import option, option_like
from bionemo.core.flag_groups import SharedFlags


@dataclass(frozen=True, kw_only=True)
class ConsolidateConfig:
    """Consolidate a sharded checkpoint into one folder that transformers and both training engines open."""

    run_dir: Path = option(positional=True, help="Folder of the run, or one of its checkpoints.")
    out_dir: Path = option(positional=True, help="Where to.")
    checkpoint: str = option("last", help="Name under checkpoints/: last, best, or step-00001000.")
    overwrite: bool = option_like(SharedFlags, "overwrite", False)
