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
    command = [sys.executable, SCRIPT, "--smoke", "--parts", "tensor", "--steps", "4", "--out", out]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    first, second = json.loads(out.read_text())
    assert (first["gpus"], second["gpus"]) == (1, 2)
    assert second["value"] < 1e-5
