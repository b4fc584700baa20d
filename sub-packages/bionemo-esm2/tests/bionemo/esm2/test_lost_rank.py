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

TIMEOUT_S = 400.0
COMMAND = [sys.executable, "-m", "bionemo.esm2.scripts.train_esm2"]
TINY = (
    "--accelerator=cpu --tokens-per-batch=256 --max-seq-length=128 --log-every-n-steps=1 "
    "--num-layers=2 --hidden-size=32 --num-attention-heads=4 --ffn-hidden-size=64 --limit-val-batches=1"
).split()
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ONE_NODE = ["--standalone", "--nproc-per-node=2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SIXTY_STEPS = ["--num-steps=60", "--save-interval=5", "--val-check-interval=60", "--strategy=fsdp"]


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fasta(tmp_path_factory.mktemp("data") / "proteins.fasta", make_proteins(160, num_families=4))


@pytest.fixture
def flags(fasta: Path, tmp_path: Path) -> list[str]:
    return [f"--train-fasta={fasta}", f"--result-dir={tmp_path}", *TINY]


@pytest.fixture(scope="module")
def uninterrupted(fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Metrics of the run that nothing has happened to."""
    folder = tmp_path_factory.mktemp("straight")
    flags = [f"--train-fasta={fasta}", f"--result-dir={folder}", *TINY, *SIXTY_STEPS, "--devices=2"]
    command = [*TORCHRUN, *ONE_NODE, *COMMAND[1:], *flags]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, timeout=TIMEOUT_S)
    return read_metrics(folder / "esm2/metrics.csv")


def start_rank(rank: int, port: int, flags: list[str]) -> subprocess.Popen[str]:
    place: dict[str, Any] = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    place |= {"GROUP_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    environment = {**ENVIRONMENT, **{name: str(value) for name, value in place.items()}}
    return subprocess.Popen([*COMMAND, *flags, "--devices=2"], env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_rows(num_rows: int, path: Path, processes: list[subprocess.Popen[str]]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not path.exists() or len(path.read_text().splitlines()) <= num_rows:
        for process in processes:
            assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("strategy", "victim"), [("fsdp", 1), ("fsdp", 0), ("ddp", 1)])
def test_a_killed_rank_ends_the_others_and_is_named(
    strategy: str, victim: int, flags: list[str], tmp_path: Path
) -> None:
    port, flags = free_port(), [*flags, "--num-steps=100000", f"--strategy={strategy}", "--num-dataset-workers=1"]
    ranks = [start_rank(rank, port, flags) for rank in (0, 1)]
    try:
        wait_for_rows(3, tmp_path / "esm2/metrics.csv", ranks)
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


@pytest.mark.parametrize("num_nodes", [1, 2])
def test_torchrun_restarts_and_the_run_resumes_without_a_flag(
    num_nodes: int, flags: list[str], uninterrupted: Any, tmp_path: Path
) -> None:
    """On two nodes, without a run id, each agent counts restarts by itself: all ranks resume nevertheless."""
    meeting = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}"]
    places = [*(ONE_NODE if num_nodes == 1 else meeting), "--max-restarts=2"]
    flags = [*flags, *SIXTY_STEPS, f"--devices={2 // num_nodes}", f"--num-nodes={num_nodes}"]
    command = [*TORCHRUN, *places, *COMMAND[1:], *flags]
    agents = [subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) for _ in range(num_nodes)]
    wait_for_rows(12, tmp_path / "esm2/metrics.csv", agents)
    os.kill(children(agents[-1].pid)[-1], signal.SIGKILL)
    errors = [agent.communicate(timeout=TIMEOUT_S)[1] for agent in agents]
    assert [agent.returncode for agent in agents] == [0] * num_nodes, "\n".join(errors)[-3000:]
    assert "torchrun has restarted this run after a failure; resuming it" in errors[0]
    metrics = read_metrics(tmp_path / "esm2/metrics.csv")
    assert metrics["step"].tolist() == list(range(1, 61))
    np.testing.assert_array_equal(metrics["train_loss"], uninterrupted["train_loss"])


def test_a_restart_does_not_touch_the_run_of_another_job(flags: list[str], tmp_path: Path) -> None:
    """Bad input in the first attempt, a folder that holds a run, stays bad input in the second."""
    (tmp_path / "esm2").mkdir()
    (tmp_path / "esm2/config.yaml").write_text("seed: 1\n")
    command = [*TORCHRUN, *ONE_NODE, "--max-restarts=1", *COMMAND[1:], *flags, "--num-steps=2", "--devices=2"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "holds a run already. Continue it with --resume-if-exists" in done.stderr
    assert not (tmp_path / "esm2/metrics.csv").exists()
