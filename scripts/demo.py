# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The main job on the shipped sequences: train a small ESM-2 under a name of its own.

`./launch.sh demo` calls this; further arguments go to train_esm2, whose flags win over protein/esm2/demo.yaml, and
which says at the end what the run reached and where its picture and its checkpoint are.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path


CONFIG_PATH = Path(__file__).resolve().parent / "protein" / "esm2" / "demo.yaml"


def free_name(result_dir: Path) -> str:
    """Return `demo`, or `demo-2`, ... where earlier runs are: none of them is overwritten."""
    taken = {path.name for path in result_dir.iterdir()} if result_dir.is_dir() else set()
    number = 1
    while (name := "demo" if number == 1 else f"demo-{number}") in taken:
        number += 1
    return name


def train_arguments(arguments: Sequence[str]) -> list[str]:
    """Add to what the caller gave where the run reads its settings and where it writes."""
    given = {argument.partition("=")[0] for argument in arguments}
    added = [] if "--config" in given else ["--config", str(CONFIG_PATH)]
    if not given & {"--result-dir", "--experiment-name"}:
        added += ["--result-dir", "results", "--experiment-name", free_name(Path("results"))]
    return [*added, *arguments]


if __name__ == "__main__":
    command = [sys.executable, "-m", "bionemo.esm2.scripts.train_esm2", *train_arguments(sys.argv[1:])]
    os.execv(sys.executable, command)
