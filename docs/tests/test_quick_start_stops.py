# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The quick start's promise, as printed: Ctrl-C at any moment, the same command with --resume-if-exists, exactly."""

import os
import re
import shlex
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from bionemo.core.command import run_command
from bionemo.esm2.scripts.train_esm2 import main
from bionemo.llm.checkpoints.hf_directory import read_tensors
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.fork_server import Child, fork_server
from bionemo.testing.proteins import make_proteins


PAGE = Path(__file__).resolve().parents[1] / "docs/user-guide/quick-start.md"
PROMISE = """\
- The run can be stopped at any moment, with Ctrl-C or by a scheduler: it saves the step it has done and ends. The same
  command with `--resume-if-exists` continues it, exactly."""


def type_line(connection: Connection) -> None:
    """Run a line in a folder, as a shell does; gives its exit code."""
    folder, line = connection.recv()
    os.chdir(folder)
    torch.set_num_threads(1)
    try:
        status: object = run_command(main.run, shlex.split(line)[1:], prog="train_esm2")
    except SystemExit as stopped:
        status = stopped.code
    connection.send(status)


def start(folder: Path, line: str) -> Child:
    child = fork_server((__name__, "bionemo.esm2.train")).start(type_line)
    child.connection.send((folder, line))
    return child


def press_ctrl_c(child: Child, when: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    try:
        while not when():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(child.pid, signal.SIGINT)
        assert child.connection.poll(60)
        assert child.connection.recv() == 130
    finally:
        child.reap()


def saved_steps(run_dir: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in sorted(run_dir.glob("checkpoints/step-*"))]


def test_a_stopped_run_continues_exactly(tmp_path: Path) -> None:
    page = PAGE.read_text()
    assert PROMISE in page
    (line,) = re.findall(r"^train_esm2 --train-fasta .*", page.partition("## Use the checkpoint")[0], re.MULTILINE)
    write_fasta(tmp_path / "proteins.fasta.gz", make_proteins(24, num_families=2, min_length=20, max_length=30))
    run_dir = tmp_path / "results/mine"

    press_ctrl_c(start(tmp_path, line), (run_dir / "config.yaml").exists)  # the first step is done
    (first,) = saved_steps(run_dir)
    press_ctrl_c(
        start(tmp_path, f"{line} --resume-if-exists"),
        lambda: f"resuming from step {first} " in (run_dir / "log.txt").read_text(),  # written after its first step
    )
    *_, second = saved_steps(run_dir)
    assert second > first

    child = start(tmp_path, f"{line} --result-dir straight --early-stop-on-step {second}")
    try:
        assert child.connection.poll(120)
        assert child.connection.recv() == 0
    finally:
        child.reap()
    ours, theirs = (
        read_tensors(tmp_path / folder / "mine/checkpoints/last/model.safetensors")
        for folder in ("results", "straight")
    )
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
