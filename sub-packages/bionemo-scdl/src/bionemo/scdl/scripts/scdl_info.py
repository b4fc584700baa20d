# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``scdl_info``: what an archive holds, and whether it is sound."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bionemo.core.command import run_command
from bionemo.core.config import option, parse
from bionemo.core.errors import EXIT_BAD_INPUT


PROG = "scdl_info"


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """Show what an archive holds: rows, genes, dtypes, sizes, features and integrity."""

    archive: Path = option(help="Folder of the archive.", positional=True)
    verify: bool = option(False, help="Read every file and compare checksums, row pointers and column numbers.")
    json: bool = option(False, help="Print JSON instead of a table.")


def _run(argv: Sequence[str]) -> int:
    config = parse(InfoConfig, argv, prog=PROG)
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
    from bionemo.scdl.io.verification import describe_archive, verify_archive

    problems = verify_archive(config.archive) if config.verify and config.archive.is_dir() else []
    for problem in problems:
        sys.stderr.write(f"{PROG}: {problem}\n")
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, argv, prog=PROG)


if __name__ == "__main__":
    sys.exit(main())
