# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of fine-tuning meets its bars on real data, from its own pretraining; nightly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).parents[6] / "benchmarks/esm2_finetune.py"
DATA = next((p / "shared" / "data" for p in Path(__file__).parents if (p / "shared" / "data").is_dir()), None)


@pytest.mark.nightly
@pytest.mark.skipif(DATA is None, reason="needs the real data beside the repository (shared/data)")
def test_fine_tuning_meets_its_bars() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), "--data", str(DATA)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
