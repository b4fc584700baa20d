# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import os
import sys
import time

import pytest

from bionemo.core.utils.subprocess_utils import run_subprocess_safely


def python(code: str) -> str:
    return f'{sys.executable} -c "{code}"'


def test_success_is_captured_and_echoed(capsys):
    code = "import sys; print('out 1'); print('err 1', file=sys.stderr)"
    assert run_subprocess_safely(python(code)) == {"stdout": "out 1\n", "stderr": "err 1\n", "returncode": 0}
    assert capsys.readouterr() == ("out 1\n", "err 1\n")


def test_words_are_split_by_shell_rules_but_no_shell_runs():
    result = run_subprocess_safely(python("import sys; print(sys.argv[1:])") + " 'a b' $HOME ; ls")
    assert result["stdout"] == "['a b', '$HOME', ';', 'ls']\n"


def test_non_zero_exit():
    result = run_subprocess_safely(python("print('x'); raise SystemExit(3)"))
    assert result == {"stdout": "x\n", "stderr": "", "returncode": 3, "error": "non-zero exit"}


def test_timeout_kills_the_whole_group_and_keeps_the_output(tmp_path):
    pid_file = tmp_path / "pid"
    child = f"sh -c 'echo $$ > {pid_file}; exec sleep 60'"
    code = f"import os, subprocess, time; print('before', flush=True); subprocess.Popen(['sh', '-c', {child!r}])"
    script = tmp_path / "parent.py"
    script.write_text(code + "; time.sleep(60)\n")
    start = time.monotonic()
    result = run_subprocess_safely(f"{sys.executable} {script}", timeout=2)
    assert time.monotonic() - start < 20
    assert result == {"stdout": "before\n", "stderr": "", "returncode": None, "error": "timeout"}
    pid = int(pid_file.read_text())
    for _ in range(100):  # its new parent may take a moment to collect it
        if not is_running(pid):
            break
        time.sleep(0.05)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 a kernel file
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"


def test_much_output_does_not_block():
    result = run_subprocess_safely(python("import sys; [print('x' * 99) for _ in range(20_000)]"), timeout=60)
    assert len(result["stdout"]) == 2_000_000


def test_undecodable_output():
    result = run_subprocess_safely(python("import os; os.write(1, bytes([255, 10]))"))
    assert result["stdout"] == "\ufffd\n"


@pytest.mark.parametrize(
    ("command", "error"),
    [("no-such-program-here --x", "not found"), ("'unbalanced", "other"), ("", "other"), ("/", "other")],
)
def test_what_cannot_be_started(command, error):
    result = run_subprocess_safely(command)
    assert (result["error"], result["stdout"], result["returncode"]) == (error, "", None)
    assert ("message" in result) == (error == "other")
