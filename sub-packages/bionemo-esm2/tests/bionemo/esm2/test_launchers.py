# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of the page about several GPUs, as typed there, on two CPU ranks."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.run_directory import RunDirectory
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


def prepared(launcher: str, tmp_path: Path, *more: str) -> tuple[list[str], dict[str, str]]:
    """The command and its environment."""
    fasta = write_fasta(tmp_path / "proteins.fasta", make_proteins(160, num_families=4))
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "VENV": sys.prefix}
    if launcher == "slurm":
        environment |= {f"SLURM_{name}": value for name, value in JOB.items()}
    return [*LAUNCHERS[launcher], f"--train-fasta={fasta}", *TINY, *more], environment


@pytest.mark.nightly
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_commands_of_the_multi_gpu_page(launcher: str, tmp_path: Path) -> None:
    """Two fresh processes, as the launchers start them; stdout has one line."""
    command, environment = prepared(launcher, tmp_path)
    done = run_command_with_timeout(shlex.join(command), tmp_path, environment, timeout=300)
    assert (done.returncode, done.stdout) == (0, "results/esm2\n"), done.stderr
    assert read_metrics(tmp_path / "results/esm2/metrics.csv")["consumed_samples"].tolist()[-1] == 8


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("launcher", "signum", "target", "status"),
    [
        ("torchrun", signal.SIGTERM, "first rank", 0),  # another code would make torchrun start the ranks again
        ("torchrun", signal.SIGTERM, "launcher", 1),
        ("lightning", signal.SIGINT, "group", 130),
        ("slurm", signal.SIGTERM, "first rank", 143),
    ],
)
def test_a_requested_stop_is_saved_by_all_ranks_and_not_restarted(
    launcher: str, signum: signal.Signals, target: str, status: int, tmp_path: Path
) -> None:
    """As the page says: exit codes come after all ranks have saved."""
    command, environment = prepared(launcher, tmp_path, "--max-steps=100000", "--log-every-n-steps=1")
    if launcher == "torchrun":
        command.insert(3, "--max-restarts=2")
    run = RunDirectory(tmp_path / "results/esm2")
    with (tmp_path / "stderr.txt").open("w") as stderr:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=stderr, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while not run.metrics_path.exists() or run.metrics_path.read_text().count("\n") < 4:
            assert process.poll() is None, (tmp_path / "stderr.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if target == "group":
            os.killpg(process.pid, signum)
        else:
            first_rank = int(run.lock_path.read_text().split()[1])  # process N on HOST
            os.kill(process.pid if target == "launcher" else first_rank, signum)
        assert process.wait(timeout=120) == status, (tmp_path / "stderr.txt").read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    (checkpoint,) = run.checkpoints()
    step = int(checkpoint.name.removeprefix("step-"))
    assert read_metrics(run.metrics_path)["step"].tolist() == list(range(1, step + 1))
    log = run.log_path.read_text()
    assert log.count("training and 8 validation sequences") == 1  # started once
    assert log.count(f"stopped by {signum.name} at step {step}") == 1
