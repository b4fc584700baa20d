# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ``scdl_info``."""

from dataclasses import dataclass
from pathlib import Path

from bionemo.core.config import option


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """Show what an archive holds: rows, genes, dtypes, sizes, features and integrity."""

    archive: Path = option(help="Folder of the archive.", positional=True)
    verify: bool = option(False, help="Read every file and compare checksums, row pointers and column numbers.")
    json: bool = option(False, help="Print JSON instead of a table.")
