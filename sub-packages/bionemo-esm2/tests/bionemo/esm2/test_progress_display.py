# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a training command shows: a bar on a real pseudo-terminal, plain lines elsewhere, a summary at the end."""

import os
import re
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from bionemo.core.command import run_command
from bionemo.esm2.scripts.train_esm2 import main
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.fork_server import fork_server
from bionemo.testing.proteins import make_proteins


PRELOAD = ("bionemo.esm2.train", "rich.progress")
NUM_STEPS = 12


def train_in_child(connection: Connection) -> None:
    """Run the command with stderr on a terminal or a file, and stdout on a file."""
    argv, stderr, stdout = connection.recv()
    os.environ |= {"TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40"}
    for path, fd in ((stderr, 2), (stdout, 1)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), fd)
    torch.set_num_threads(1)
    connection.send(run_command(main.run, argv, prog="train_esm2"))


def train(tmp_path: Path, *, stderr: str) -> str:
    """Give what the command wrote to stdout."""
    fasta = write_fasta(tmp_path / "proteins.fasta", make_proteins(80, num_families=4))
    settings = {
        "train_fasta": fasta, "result_dir": tmp_path, "num_steps": NUM_STEPS, "tokens_per_batch": 256,
        "max_seq_length": 128, "num_dataset_workers": 0, "accelerator": "cpu", "num_layers": 1, "hidden_size": 16,
        "num_attention_heads": 2, "ffn_hidden_size": 32,
    }  # fmt: skip
    argv = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    child = fork_server((__name__, *PRELOAD)).start(train_in_child)
    try:
        child.connection.send((argv, stderr, str(tmp_path / "stdout")))
        assert child.connection.poll(120)
        assert child.connection.recv() == 0
    finally:
        child.reap()
    return (tmp_path / "stdout").read_text()


def assert_summary(shown: str, run_dir: Path) -> None:
    summary = shown[shown.rindex("trained for") :]
    for what in ("training loss", "validation loss", "nats/token", "tokens/s", str(run_dir / "loss.png")):
        assert what in summary, what
    assert f"EsmForMaskedLM.from_pretrained('{run_dir / 'checkpoints/last'}')" in summary


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    controller, terminal = os.openpty()
    shown = bytearray()
    os.set_blocking(controller, False)
    stdout = train(tmp_path, stderr=os.ttyname(terminal))
    while True:
        try:
            shown += os.read(controller, 1 << 16)
        except BlockingIOError:
            break
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r\n", "\n")
    last = [line for line in re.split(r"[\r\n]", text) if line.startswith(f"step {NUM_STEPS}/{NUM_STEPS} ")][-1]
    assert "━" in last
    assert re.search(r"loss \d+\.\d+.*tokens/s \d.*time left \d+:\d+:\d+", last), last
    assert re.search(r"[\r\n]\d{4}-\d\d-\d\d .* INFO .*: step 3 of 12: train_loss", text)  # a log line above the bar
    assert_summary(text, tmp_path / "esm2")
    assert stdout == f"{tmp_path / 'esm2'}\n"


def test_plain_lines_elsewhere(tmp_path: Path) -> None:
    stdout = train(tmp_path, stderr=str(tmp_path / "stderr"))
    text = (tmp_path / "stderr").read_text()
    assert "\x1b" not in text
    assert "\r" not in text
    assert f"step {NUM_STEPS} of {NUM_STEPS}: train_loss" in text
    assert_summary(text, tmp_path / "esm2")
    assert stdout == f"{tmp_path / 'esm2'}\n"


def test_a_line_a_minute_where_no_row_is_due(caplog: pytest.LogCaptureFixture) -> None:
    from bionemo.core.progress import StepProgress

    now = [0.0]
    progress = StepProgress(1000, completed=100, clock=lambda: now[0])
    caplog.set_level("INFO")
    for step in range(101, 140):
        now[0] += 4.0
        progress.update(step, loss="2.71")
    assert [record.getMessage() for record in caplog.records] == [
        "step 115 of 1000: loss 2.71, time left 0:59:00",
        "step 130 of 1000: loss 2.71, time left 0:58:00",
    ]
