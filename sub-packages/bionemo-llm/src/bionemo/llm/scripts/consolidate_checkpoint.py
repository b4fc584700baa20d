# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``consolidate_checkpoint``: one folder in Hugging Face layout from the shards of a megatron run."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bionemo.core.command import print_result, run_command
from bionemo.core.config import option, parse


@dataclass(frozen=True, kw_only=True)
class ConsolidateConfig:
    """Make one folder, which transformers opens and every engine starts from, of a checkpoint that lies in shards."""

    run_dir: Path = option(positional=True, help="Folder of the run, or one of its checkpoints.")
    out_dir: Path = option(positional=True, help="Where to.")
    checkpoint: str = option("last", help="Name under checkpoints/: last, best, or step-00001000.")
    overwrite: bool = option(False, help="Replace what is at OUT_DIR.")


def main(argv: Sequence[str]) -> int:
    """Parse, consolidate, print the folder."""
    config = parse(ConsolidateConfig, argv, prog="consolidate_checkpoint")
    from bionemo.llm.checkpoints.consolidate import consolidate

    print_result(consolidate(config.run_dir, config.out_dir, checkpoint=config.checkpoint, overwrite=config.overwrite))
    return 0


def entrypoint() -> None:
    """Console script."""
    sys.exit(run_command(main, prog="consolidate_checkpoint"))


if __name__ == "__main__":
    entrypoint()
