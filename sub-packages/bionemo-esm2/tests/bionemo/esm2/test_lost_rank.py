# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A rank that is killed: the others end at once and name it, and torchrun's restart resumes the run by itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.network_ports import free_port
from bionemo.testing.proteins import make_proteins


pytestmark = pytest.mark.nightly

COMMAND = [sys.executable, "-m", "bionemo.esm2.scripts.train_esm2"]
TINY = (
    "--accelerator=cpu --tokens-per-batch=256 --max-seq-length=128 --log-every-n-steps=1 "
    "--num-layers=2 --hidden-size=32 --num-attention-heads=4 --ffn-hidden-size=64 --limit-val-batches=1 --devices=2"
).split()


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    fasta = write_fasta(tmp_path / "proteins.fasta", make_proteins(160, num_families=4))
    return [f"--train-fasta={fasta}", f"--result-dir={tmp_path}", *TINY]


def start_rank(rank: int, port: int, flags: list[str]) -> subprocess.Popen[str]:
    place: dict[str, Any] = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    place |= {"GROUP_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in place.items()}}
    return subprocess.Popen([*COMMAND, *flags], env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Any, timeout_s: float = 200.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def num_rows(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(("strategy", "victim"), [("fsdp", 1), ("fsdp", 0), ("ddp", 1)])
def test_a_killed_rank_ends_the_others_and_is_named(
    strategy: str, victim: int, flags: list[str], tmp_path: Path
) -> None:
    port, flags = free_port(), [*flags, "--num-steps=100000", f"--strategy={strategy}", "--num-dataset-workers=1"]
    ranks = [start_rank(rank, port, flags) for rank in (0, 1)]
    try:
        wait_for(lambda: num_rows(tmp_path / "esm2/metrics.csv") > 3)
        ranks[victim].kill()
        killed_at = time.monotonic()
        error = ranks[1 - victim].communicate(timeout=60)[1]
        assert time.monotonic() - killed_at < 30
        assert ranks[1 - victim].returncode == 1
        last = error.strip().splitlines()[-1]
        assert f"rank {victim} of 2 has ended without finishing" in last, error[-2000:]
        assert "Traceback" not in error
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_torchrun_restarts_and_the_run_resumes_without_a_flag(flags: list[str], tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    flags = [*flags, "--num-steps=60", "--save-interval=5", "--val-check-interval=60", "--strategy=fsdp"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*torchrun, "--max-restarts=1", *COMMAND[1:], *flags]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as agent:
        wait_for(lambda: num_rows(tmp_path / "esm2/metrics.csv") > 12)
        os.kill(children(agent.pid)[1], signal.SIGKILL)
        error = agent.communicate(timeout=250)[1]
    assert agent.returncode == 0, error[-3000:]
    assert "torchrun has restarted this run after a failure; resuming it" in error
    straight = [*torchrun, *COMMAND[1:], *flags, "--experiment-name=straight"]
    subprocess.run(straight, env=environment, check=True, capture_output=True, timeout=250)
    ours, theirs = (read_metrics(tmp_path / name / "metrics.csv") for name in ("esm2", "straight"))
    assert ours["step"].tolist() == list(range(1, 61))
    np.testing.assert_array_equal(ours["train_loss"], theirs["train_loss"])


def test_a_restart_does_not_touch_the_run_of_another_job(flags: list[str], tmp_path: Path) -> None:
    """Bad input in the first attempt, a folder that holds a run, stays bad input in the second."""
    (tmp_path / "esm2").mkdir()
    (tmp_path / "esm2/config.yaml").write_text("seed: 1\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "--max-restarts=1", *COMMAND[1:], *flags, "--num-steps=2"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "holds a run already. Continue it with --resume-if-exists" in done.stderr
    assert not (tmp_path / "esm2/metrics.csv").exists()
