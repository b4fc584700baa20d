# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import time
from pathlib import Path

import pytest

from bionemo.testing.subprocess_utils import run_command_in_subprocess, run_command_with_timeout


def test_output_folder_and_port(tmp_path, monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "1")
    lines = run_command_in_subprocess("pwd; echo $MASTER_PORT; echo noise >&2", tmp_path).splitlines()
    assert lines[0] == str(tmp_path)
    assert 1024 < int(lines[1]) < 65536
    assert len(lines) == 2


def test_a_failing_command_shows_both_outputs(tmp_path, capfd):
    with pytest.raises(AssertionError, match="Command failed: echo out; echo err >&2; exit 3"):
        run_command_in_subprocess("echo out; echo err >&2; exit 3", tmp_path)
    assert capfd.readouterr() == ("out\n", "err\n")
    assert run_command_with_timeout("exit 3", tmp_path).returncode == 3
    assert run_command_with_timeout("echo $A", tmp_path, env={"A": "b"}).stdout == "b\n"


def test_outputs_beyond_a_pipes_size_are_drained(tmp_path):
    done = run_command_with_timeout("head -c 300000 /dev/zero | tee /dev/stderr", tmp_path, timeout=20)
    assert (len(done.stdout), len(done.stderr)) == (300_000, 300_000)


def test_a_late_command_is_killed_with_its_children(tmp_path):
    start = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        run_command_in_subprocess("sleep 60 & echo $!; wait", tmp_path, timeout=0.3)
    assert time.monotonic() - start < 10
    assert caught.value.timeout == 0.3
    pid = int(caught.value.output)
    deadline = time.monotonic() + 5
    while (status := Path(f"/proc/{pid}/stat")).exists() and status.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.02)
