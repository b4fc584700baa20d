# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of several GPUs as far as CPU ranks take it: torchrun starts ranks, the table is filled."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


SCRIPT = Path(__file__).parents[5] / "benchmarks/multi_gpu.py"


@pytest.mark.nightly
def test_ddp_and_sharded_ranks_are_measured_and_nothing_is_run_twice(tmp_path: Path) -> None:
    out = tmp_path / "runs.json"
    command = [sys.executable, SCRIPT, "--smoke", "--parts", "650M", "--steps", "10", "--out", out]
    first = subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    rows = [line.split(" | ") for line in first.stdout.splitlines() if line.startswith("| 650M-")]
    assert [(row[0], row[1]) for row in rows] == [("| 650M-one", "1"), ("| 650M-ddp", "2"), ("| 650M-fsdp", "2")]
    kept = {json.loads(key)[0]: run for key, run in json.loads(out.read_text()).items()}
    assert [len(run["train_loss"]) for run in kept.values()] == [2, 2, 2]
    np.testing.assert_allclose(kept["650M-fsdp"]["train_loss"], kept["650M-ddp"]["train_loss"], rtol=0, atol=1e-5)
    assert kept["650M-one"]["train_loss"] != kept["650M-ddp"]["train_loss"]  # half as many packs a step
    again = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert again.stdout == first.stdout[first.stdout.index("CPU smoke run") :]  # the table, and no run's folder
