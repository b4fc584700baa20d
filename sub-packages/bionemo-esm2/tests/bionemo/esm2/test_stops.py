# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Runs that are stopped: real processes with loader workers, signals to their whole group, in every phase."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from bionemo.core.command import run_command
from bionemo.esm2.scripts.train_esm2 import main
from bionemo.llm.checkpoints.hf_directory import read_tensors
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.training.checkpoint_writer import CheckpointWriter
from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.fork_server import Child, fork_server
from bionemo.testing.megatron_on_cpu import megatron_on_cpu
from bionemo.testing.proteins import make_proteins


NUM_STEPS = 40
PRELOAD = ("bionemo.esm2.train", "bionemo.testing.megatron_on_cpu")
MEGATRON_PRELOAD = (*PRELOAD, "bionemo.llm.megatron.engine", "nemo.lightning.pytorch.strategies")
GONE_WITHIN_S = 10.0
"""One step, one save and 5 s; the steps and saves here take milliseconds, the machine may be busy."""
NUM_STOPS = 50
"""Random stops for each signal and training engine, nightly."""


def has_nemo() -> bool:
    try:
        version("nemo-toolkit")
    except PackageNotFoundError:
        return False
    return True


needs_nemo = [
    pytest.mark.nemo_env,
    pytest.mark.skipif(not has_nemo(), reason="the megatron engine needs NeMo, which is in .venv-nemo"),
]


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fasta(tmp_path_factory.mktemp("data") / "proteins.fasta", make_proteins(160, num_families=4))


def flags(fasta: Path, result_dir: Path, **changes: object) -> list[str]:
    settings = {
        "train_fasta": fasta, "result_dir": result_dir, "num_steps": NUM_STEPS, "val_check_interval": 1000,
        "save_interval": 1000, "log_every_n_steps": 1, "tokens_per_batch": 512, "max_seq_length": 128,
        "num_dataset_workers": 0, "accelerator": "cpu", "num_layers": 2, "hidden_size": 32, "num_attention_heads": 4,
        "ffn_hidden_size": 64,
    }  # fmt: skip
    return [f"--{name.replace('_', '-')}={value}" for name, value in {**settings, **changes}.items()]


def run_in_child(connection: Connection) -> None:
    """The command in a process group of its own; gives its exit code."""
    argv, marker, save_s, batch_s = connection.recv()
    torch.set_num_threads(1)
    slow = mock.patch.object(CheckpointWriter, "on_validation_batch_end", slowly(marker, batch_s))
    saves = mock.patch.object(CheckpointWriter, "announce", side_effect=lambda path: time.sleep(save_s))
    with ExitStack() as stack:
        stack.enter_context(slow)
        if save_s:
            stack.enter_context(saves)
        if "--engine=megatron" in argv:
            stack.enter_context(megatron_on_cpu())
        try:
            status: object = run_command(main.run, argv, prog="train_esm2")
        except SystemExit as stopped:
            status = stopped.code
    connection.send(status)


def slowly(marker: Path, batch_s: float) -> Callable[..., None]:
    """A validation whose batches take this many seconds, and are marked."""
    original = CheckpointWriter.on_validation_batch_end

    def on_validation_batch_end(self: CheckpointWriter, *args: object) -> None:
        with marker.open("a") as file:
            file.write("batch\n")
        time.sleep(batch_s)
        original(self, *args)

    return on_validation_batch_end


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s"
        time.sleep(0.002)


def rows(run_dir: Path) -> int:
    path = run_dir / "metrics.csv"
    return max(0, len(path.read_text().splitlines()) - 1) if path.exists() else 0


def start(argv: list[str], marker: Path, *, save_s: float = 0.0, batch_s: float = 1.0) -> Child:
    preload = MEGATRON_PRELOAD if "--engine=megatron" in argv else PRELOAD
    child = fork_server((__name__, *preload)).start(run_in_child)
    child.connection.send((argv, marker, save_s, batch_s))
    return child


def stop(child: Child, signum: signal.Signals) -> tuple[int, float]:
    """Signal the whole process group; gives exit code and seconds until the command was gone."""
    began = time.monotonic()
    os.killpg(child.pid, signum)
    assert child.connection.poll(60), "the command did not end"
    status = child.connection.recv()
    return status, time.monotonic() - began


def run_to_its_end(argv: list[str], marker: Path) -> None:
    child = start(argv, marker, batch_s=0.05)
    try:
        assert child.connection.poll(120), "the command did not end"
        assert child.connection.recv() == 0
    finally:
        child.reap()


def saved_tensors(run_dir: Path) -> dict[str, torch.Tensor]:
    """Weights of the last checkpoint; those of the megatron engine with its optimizer's state."""
    checkpoint = run_dir / "checkpoints/last"
    shards = checkpoint / "shards/rank-00000.safetensors"
    return read_tensors(shards if shards.exists() else checkpoint / "model.safetensors")


def saved_step(run_dir: Path) -> int:
    (checkpoint,) = RunDirectory(run_dir).checkpoints()
    return read_json(checkpoint / "training_state/state.json")["progress"]["step"]


CASES = [
    pytest.param("lightning", signal.SIGTERM, "training", 2, id="lightning-SIGTERM-training-2"),
    pytest.param("lightning", signal.SIGTERM, "validation", 0, id="lightning-SIGTERM-validation-0"),
    pytest.param("lightning", signal.SIGINT, "start-up", 2, id="lightning-SIGINT-start-up-2"),
    pytest.param("megatron", signal.SIGINT, "validation", 2, id="megatron-SIGINT-validation-2", marks=needs_nemo),
    pytest.param("megatron", signal.SIGTERM, "training", 0, id="megatron-SIGTERM-training-0", marks=needs_nemo),
]


@pytest.mark.parametrize(("engine", "signum", "phase", "workers"), CASES)
def test_a_signal_to_the_group_saves_everything_and_ends_the_command(
    engine: str, signum: signal.Signals, phase: str, workers: int, fasta: Path, tmp_path: Path
) -> None:
    run_dir, marker = tmp_path / "esm2", tmp_path / "validating"
    changes: dict[str, object] = {"num_dataset_workers": workers, "engine": engine}
    if phase == "validation":
        changes |= {"val_check_interval": 5, "limit_val_batches": 1.0}
    argv = flags(fasta, tmp_path, num_steps=100_000, scheduler_num_steps=NUM_STEPS, **changes)
    child = start(argv, marker)
    try:
        if phase == "start-up":
            wait_until((run_dir / ".lock").exists, "the lock")
        elif phase == "training":
            wait_until(lambda: rows(run_dir) >= 3, "three steps")
        else:
            wait_until(marker.exists, "the validation")
        status, seconds = stop(child, signum)
        assert status == 128 + signum
        assert seconds < GONE_WITHIN_S
    finally:
        child.reap()
    if phase == "start-up":
        assert [path.name for path in tmp_path.rglob("*") if path.is_file() and "data" not in path.parts] == []
        return
    step = saved_step(run_dir)
    steps = read_metrics(run_dir / "metrics.csv")["step"].tolist()
    assert steps == list(range(1, step + 1))  # nothing that was trained is lost
    assert not (run_dir / ".lock").exists()
    if phase == "validation":
        assert step == 5
        assert marker.read_text() == "batch\n"  # the others were not waited for
        return
    straight = tmp_path / "straight"
    changes |= {"num_steps": step + 2, "scheduler_num_steps": NUM_STEPS}
    run_to_its_end([*flags(fasta, tmp_path, **changes), "--resume-if-exists"], marker)
    run_to_its_end(flags(fasta, straight, **changes), marker)
    expected = saved_tensors(straight / "esm2")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in saved_tensors(run_dir).items())


def test_a_second_interrupt_leaves_at_once(fasta: Path, tmp_path: Path) -> None:
    child = start(flags(fasta, tmp_path, num_steps=100_000, save_interval=2), tmp_path / "marker", save_s=60)
    try:
        wait_until(lambda: bool(RunDirectory(tmp_path / "esm2").checkpoints()), "the first checkpoint")
        os.killpg(child.pid, signal.SIGINT)
        time.sleep(0.2)
        began = time.monotonic()
        os.killpg(child.pid, signal.SIGINT)
        with pytest.raises((EOFError, ConnectionResetError)):
            child.connection.poll(20) and child.connection.recv()
        assert time.monotonic() - began < GONE_WITHIN_S
    finally:
        status = child.reap()
    assert status == 130


ENGINES = ["lightning", pytest.param("megatron", marks=needs_nemo)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_kill_loses_what_came_after_the_last_save(engine: str, fasta: Path, tmp_path: Path) -> None:
    marker, run_dir = tmp_path / "marker", tmp_path / "esm2"
    changes = {"num_steps": 9, "save_interval": 3, "num_dataset_workers": 2, "engine": engine}
    run_to_its_end(flags(fasta, tmp_path / "straight", **changes), marker)
    child = start(flags(fasta, tmp_path, **changes), marker)
    try:
        wait_until(lambda: rows(run_dir) >= 5, "five steps")
        os.killpg(child.pid, signal.SIGKILL)
    finally:
        child.reap()
    lost = rows(run_dir) - saved_step(run_dir)
    assert 0 <= lost <= 3
    run_to_its_end([*flags(fasta, tmp_path, **changes), "--resume-if-exists"], marker)
    expected = saved_tensors(tmp_path / "straight/esm2")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in saved_tensors(run_dir).items())


def signal_group(child: Child, signum: signal.Signals) -> None:
    """Signal the child's process group; itself where it is too young to have one."""
    try:
        os.killpg(child.pid, signum)
    except ProcessLookupError:
        os.kill(child.pid, signum)


def stop_at(child: Child, signum: signal.Signals, moment: float) -> int | None:
    """Signal the group after so many seconds; gives the exit code, None where the signal came before the command.

    Raises:
        AssertionError: The command was not gone in time.
    """
    if child.connection.poll(moment):
        return int(child.connection.recv())
    signal_group(child, signum)
    if signum == signal.SIGKILL:
        return None
    assert child.connection.poll(GONE_WITHIN_S), f"not gone within {GONE_WITHIN_S} s"
    try:
        return int(child.connection.recv())
    except (EOFError, ConnectionResetError):  # forked, but not yet in the command
        return None


@pytest.mark.nightly
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
def test_stops_at_random_moments(signum: signal.Signals, engine: str, fasta: Path, tmp_path: Path) -> None:
    """Fifty signals to the group, at moments of the whole running time: resumed, each ends as if it never came."""
    changes = {
        "num_steps": 12, "save_interval": 3, "val_check_interval": 4, "num_dataset_workers": 2, "engine": engine
    }  # fmt: skip
    marker, run_dir = tmp_path / "marker", tmp_path / "esm2"
    run_to_its_end(flags(fasta, tmp_path / "straight", **changes), marker)
    began = time.monotonic()  # modules are imported by now
    run_to_its_end(flags(fasta, tmp_path / "again", **changes), marker)
    duration = time.monotonic() - began
    expected = saved_tensors(tmp_path / "straight/esm2")
    for number, moment in enumerate(np.random.default_rng(int(signum)).uniform(0, duration, size=NUM_STOPS)):
        shutil.rmtree(run_dir, ignore_errors=True)
        child = start(flags(fasta, tmp_path, **changes), marker, batch_s=0.05)
        try:
            status = stop_at(child, signum, float(moment))
        finally:
            child.reap()
        assert status in (0, None, 128 + signum)
        latest, trained = RunDirectory(run_dir).latest_checkpoint(), rows(run_dir)
        step = 0 if latest is None else int(latest.name.removeprefix("step-"))
        print(f"{engine} {signum.name} {number}: {moment:.2f} of {duration:.2f} s, {trained} steps, saved {step}")
        assert 0 <= trained - step <= (3 if signum == signal.SIGKILL else 0)
        if status is not None and not trained:
            assert [path.name for path in run_dir.glob("*") if path.name != "data"] == []  # no run is left
        run_to_its_end([*flags(fasta, tmp_path, **changes), "--resume-if-exists"], marker)
        ours = saved_tensors(run_dir)
        assert ours.keys() == expected.keys()
        assert all(torch.equal(ours[name], tensor) for name, tensor in expected.items())
