# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The page that adds a model is run as it is printed: its files are written, and its commands train."""

import csv
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path


PAGE = Path(__file__).resolve().parents[1] / "docs" / "developer-guide" / "add-a-model.md"


def test_the_page_trains_its_model(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    files = re.findall(r"(?ms)^```python\n# (\S+)\n(.*?)^```", text)
    assert [name for name, _ in files] == [
        f"dna/{name}.py" for name in ("train_config", "data", "layout", "train", "train_dna")
    ]
    (tmp_path / "dna").mkdir()
    for name, source in files:
        (tmp_path / name).write_text(source)
    rng = random.Random(0)
    sequences = ["ACGGT" * rng.randint(4, 20) for _ in range(200)]
    (tmp_path / "sequences.txt").write_text("\n".join(sequences) + "\n")
    runs = [tmp_path / train(line, tmp_path).stdout.splitlines()[-1] for line in printed_commands(text)]
    for run in runs:
        assert (run / "loss.png").is_file()
        assert (run / "checkpoints" / "last" / "model.safetensors").is_file()
    losses, again = (train_losses(run / "metrics.csv") for run in runs)
    assert len(again) == 10
    assert losses[:10] == again
    assert float(losses[-1]) < float(losses[0])

    (tmp_path / "sequences.txt").write_text("ACGT\nACXT\n")
    done = train(printed_commands(text)[0] + " --experiment-name bad", tmp_path)
    assert done.returncode == 2
    assert "record 2 has ['X']; expected ACGT alone." in done.stderr


def printed_commands(text: str) -> list[str]:
    return re.findall(r"(?m)^python -m dna.*$", text)


def train(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    _, *arguments = shlex.split(command)
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def train_losses(metrics_path: Path) -> list[str]:
    with metrics_path.open() as file:
        return [row["train_loss"] for row in csv.DictReader(file) if row["train_loss"]]
