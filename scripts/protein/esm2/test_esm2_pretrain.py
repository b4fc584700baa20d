# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The script as a user runs it: the demo, shortened, learns its families and leaves a checkpoint for transformers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bionemo.llm.checkpoints.hf_directory import read_json
from bionemo.llm.training.metrics_csv import read_metrics


# One thread: idle ones spin, which on shared cores is slower than doing without.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def test_shortened_demo_learns_more_than_residue_frequencies(tmp_path: Path) -> None:
    flags = [
        "--max-steps=80",
        "--val-check-interval=80",
        "--limit-val-batches=2",
        f"--result-dir={tmp_path}",
        "--warmup-steps=20",
    ]
    command = [sys.executable, HERE / "esm2_pretrain.py", "--config", HERE / "demo.yaml", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    run_dir = Path(done.stdout.strip())
    line = read_json(run_dir / "checkpoints/last/training_state/state.json")["agreement"]["unigram_loss"]
    masked = read_metrics(run_dir / "metrics.csv")["val_loss_masked"]
    assert masked[~np.isnan(masked)][-1] < line - 0.1
    transformers = pytest.importorskip("transformers")
    model = transformers.EsmForMaskedLM.from_pretrained(run_dir / "checkpoints/last")
    assert model.config.num_hidden_layers == 4


def test_bad_input_is_one_line_and_exit_code_two(tmp_path: Path) -> None:
    command = [sys.executable, HERE / "esm2_pretrain.py", "--train-fasta", tmp_path / "none.fasta", "--model=8M"]
    done = subprocess.run(
        [*command, f"--result-dir={tmp_path}"], capture_output=True, text=True, timeout=300, env=ENVIRONMENT
    )
    assert done.returncode == 2
    assert "none.fasta" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
