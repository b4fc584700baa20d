# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bionemo.testing.kills import kill_runner


def write_slowly(path, parts, pause_s):
    with Path(path).open("a") as file:
        for part in range(parts):
            file.write(f"{part}\n")
            file.flush()
            time.sleep(pause_s)


def start_a_helper_and_wait(path):
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(str(helper.pid))
    time.sleep(0.5)


def fail():
    raise OSError("the disk is full")


def test_kills_are_spread_over_the_running_time_and_checked_each(tmp_path):
    path, checked = tmp_path / "out", []

    def check(kill):
        checked.append((kill, len(path.read_text().splitlines()) if path.exists() else 0))

    def prepare():
        path.unlink(missing_ok=True)

    kills = kill_runner(write_slowly, str(path), 20, 0.02, check=check, prepare=prepare, kills=4, seed=3)
    (undisturbed, whole), *rest = checked
    assert (undisturbed.index, undisturbed.landed, whole) == (-1, False, 20)
    assert [kill.index for kill in kills] == [0, 1, 2, 3]
    assert [kill for kill, _ in rest if kill.landed] == [kill for kill in kills if kill.landed]
    # One per quarter of the running time; one of them may have been drawn again, on a machine busier by then.
    quarter_s = undisturbed.after_s / 4
    assert sum(kill.after_s >= kill.index * quarter_s for kill in kills) >= 3
    assert sum(kill.after_s <= (kill.index + 1) * quarter_s + 0.2 for kill in kills) >= 3
    for kill, length in rest:
        assert length <= kill.after_s / 0.02 + 1  # a dead child writes nothing more
    assert any(0 < length < 20 for _, length in rest)


def test_the_number_of_kills_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("BIONEMO_TEST_KILLS", "2")
    path = tmp_path / "out"
    assert len(kill_runner(write_slowly, str(path), 5, 0.02, check=lambda kill: None)) == 2


def test_what_the_child_started_dies_with_it(tmp_path):
    path = tmp_path / "pid"

    def check(kill):
        assert not path.exists() or not Path("/proc", path.read_text()).exists()

    kill_runner(start_a_helper_and_wait, str(path), check=check, kills=1)
    assert path.exists()


def test_a_failing_check_stops_the_run(tmp_path):
    def check(kill):
        assert not kill.landed, "half a file"

    with pytest.raises(AssertionError, match="half a file"):
        kill_runner(write_slowly, str(tmp_path / "out"), 10, 0.02, check=check)


def test_failures_of_the_function_and_too_short_or_long_runs_are_told():
    with pytest.raises(AssertionError, match="OSError: the disk is full"):
        kill_runner(fail, check=lambda kill: None)
    with pytest.raises(TimeoutError, match="write_slowly did not end within"):
        kill_runner(write_slowly, "/dev/null", 20, 0.02, check=lambda kill: None, timeout_s=0.1)
