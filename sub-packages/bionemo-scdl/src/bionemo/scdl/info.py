# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Show what an archive holds, and whether it is sound."""

import json
import sys
from typing import Any

from bionemo.core.errors import EXIT_BAD_INPUT
from bionemo.scdl.info_config import InfoConfig
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.scdl.io.verification import describe_archive, verify_archive


def show_info(config: InfoConfig) -> int:
    """Print a table or JSON to stdout, and what is wrong with the archive to stderr.

    Returns:
        Exit code: 0, or 2 where the archive is damaged.

    Raises:
        BionemoError: There is no archive, or it cannot be read.
    """
    problems = verify_archive(config.archive) if config.verify and config.archive.is_dir() else []
    for problem in problems:
        sys.stderr.write(f"scdl_info: {problem}\n")
    if problems:
        return EXIT_BAD_INPUT
    about = describe_archive(SingleCellMemMapDataset.open(config.archive))
    about["integrity"] = "verified: every file read, no problem" if config.verify else "sizes agree with the header"
    sys.stdout.write((json.dumps(about, indent=2) if config.json else _as_table(about)) + "\n")
    return 0


def _as_table(about: dict[str, Any]) -> str:
    return "\n".join(f"{name.replace('_', ' '):<16}{_as_text(name, value)}" for name, value in about.items())


def _as_text(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,} ({value / 2**20:,.1f} MiB)" if name == "size_bytes" else f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
