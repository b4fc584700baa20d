# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The scaling benchmark as far as a machine without GPUs takes it: torchrun starts ranks, the table is filled."""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest


try:
    version("nemo-toolkit")
except PackageNotFoundError:
    pytest.skip("the megatron engine needs NeMo, which is in .venv-nemo", allow_module_level=True)

pytestmark = [pytest.mark.nemo_env, pytest.mark.nightly]

SCRIPT = Path(__file__).parents[5] / "benchmarks/megatron_scaling.py"


def test_tensor_parallel_ranks_have_the_losses_of_one(tmp_path: Path) -> None:
    out = tmp_path / "lines.json"
    command = [sys.executable, SCRIPT, "--smoke", "--parts", "tp2", "--steps", "4", "--out", out]
    printed = subprocess.run([*command, "--gpus", "1"], check=True, capture_output=True, text=True, timeout=300).stdout
    assert "| tp2 | tensor-2 | 2 | not run: needs 2 GPUs, found 1 | | |" in printed
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    assert "| losses within 0.5 %: yes |" in printed
    measured = {json.loads(key)[0]: value["train_loss"] for key, value in json.loads(out.read_text()).items()}
    assert len(measured[1]) == 4
    assert measured[2] == pytest.approx(measured[1], abs=1e-5)
