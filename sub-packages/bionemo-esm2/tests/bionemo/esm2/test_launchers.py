# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of the page about several GPUs, as typed there, on two CPU ranks."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.proteins import make_proteins
from bionemo.testing.subprocess_utils import run_command_with_timeout


TINY = (
    "--accelerator=cpu --max-steps=4 --tokens-per-batch=512 --max-seq-length=128 "
    "--num-layers=2 --hidden-size=32 --num-attention-heads=4 --ffn-hidden-size=64"
).split()
MODULE = "bionemo.esm2.scripts.train_esm2"
SBATCH_SCRIPT = Path(__file__).resolve().parents[5] / "docs/docs/user-guide/train_esm2.sbatch"
LAUNCHERS = {
    "lightning": [sys.executable, "-m", MODULE, "--devices=2"],
    "torchrun": [
        *[sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", MODULE],
        "--devices=2",
    ],
    "slurm": ["bash", str(SBATCH_SCRIPT)],
}
SRUN = """#!/usr/bin/env bash
# As srun does: starts the command once for each task, with the task's place in its environment.
shift
for rank in 0 1; do
    SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=$rank SLURM_NODEID=$rank SLURM_LOCALID=0 "$@" &
done
wait -n && wait -n
"""
JOB = {
    "JOB_ID": "4711", "JOB_NAME": "esm2", "NTASKS": "2", "NTASKS_PER_NODE": "1", "NNODES": "2", "JOB_NUM_NODES": "2",
    "NODELIST": "localhost",
}  # fmt: skip


@pytest.mark.nightly
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_commands_of_the_multi_gpu_page(launcher: str, tmp_path: Path) -> None:
    """Two fresh processes, as the launchers start them; stdout has one line."""
    fasta = write_fasta(tmp_path / "proteins.fasta", make_proteins(160, num_families=4))
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "VENV": sys.prefix}
    if launcher == "slurm":
        environment |= {f"SLURM_{name}": value for name, value in JOB.items()}
    command = shlex.join([*LAUNCHERS[launcher], f"--train-fasta={fasta}", *TINY])
    done = run_command_with_timeout(command, tmp_path, environment, timeout=300)
    assert (done.returncode, done.stdout) == (0, "results/esm2\n"), done.stderr
    assert read_metrics(tmp_path / "results/esm2/metrics.csv")["consumed_samples"].tolist()[-1] == 8
