# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The main job on the shipped sequences: train a small ESM-2, then say what was reached and where it lies.

`./launch.sh demo` calls this; further arguments go to train_esm2, whose flags win over protein/esm2/demo.yaml.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bionemo.core.command import run_command
from bionemo.llm.training.metrics_csv import read_metrics


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


def outcome(run_dir: Path, seconds: float) -> str:
    """Say what the run reached against the residue frequencies, and where its files are."""
    masked = read_metrics(run_dir / "metrics.csv")["val_loss_masked"]
    reached = masked[~np.isnan(masked)][-1]
    checkpoint = run_dir / "checkpoints" / "last"
    state = json.loads((checkpoint / "training_state" / "state.json").read_text(encoding="utf-8"))
    line = state["agreement"]["unigram_loss"]
    side, advice = ("below", "") if reached < line else ("above", "; train longer")
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"trained for {minutes} min {rest} s\n"
        f"loss on hidden residues  {reached:.2f} nats "
        f"({abs(line - reached):.2f} {side} the {line:.2f} of residue frequencies alone{advice})\n"
        f"picture                  {run_dir / 'loss.png'}\n"
        f"checkpoint               {checkpoint}\n"
        f"open it                  transformers.EsmForMaskedLM.from_pretrained({str(checkpoint)!r})"
    )


def main(arguments: Sequence[str]) -> int:
    """Train, then print the outcome."""
    command = [sys.executable, "-m", "bionemo.esm2.scripts.train_esm2", *train_arguments(arguments)]
    started = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode or "--help" in arguments or "-h" in arguments:
        print(done.stdout, end="")
        return done.returncode
    print(outcome(Path(done.stdout.strip().splitlines()[-1]), time.monotonic() - started))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, prog="demo"))
