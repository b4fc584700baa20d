# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Run a command, show what it prints, and never raise."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from typing import IO, Any


__all__ = ("run_subprocess_safely",)

_DRAIN_TIMEOUT_S = 5.0  # a grandchild that left the process group may keep a pipe open: do not wait for it for ever


def run_subprocess_safely(command: str, timeout: float = 2000) -> dict[str, Any]:
    """Run a command without a shell; its output is shown as it comes and returned.

    Args:
        command: Split by the rules of a POSIX shell.
        timeout: Seconds until the command and all that it started (its process group) are killed.

    Returns:
        ``stdout``, ``stderr`` and ``returncode``. After a failure also ``error``: "timeout" (returncode None, output
        so far), "non-zero exit", "not found" (no output, returncode None) or "other" (with ``message``).
    """
    try:
        process = subprocess.Popen(
            shlex.split(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        return {"stdout": "", "stderr": str(error), "returncode": None, "error": "not found"}
    except (OSError, ValueError, IndexError) as error:  # not executable, unbalanced quotes, no words at all
        return {"stdout": "", "stderr": "", "returncode": None, "error": "other", "message": str(error)}
    captured: dict[str, list[str]] = {"stdout": [], "stderr": []}
    readers = [
        threading.Thread(target=_copy, args=(process.stdout, sys.stdout, captured["stdout"]), daemon=True),
        threading.Thread(target=_copy, args=(process.stderr, sys.stderr, captured["stderr"]), daemon=True),
    ]
    for reader in readers:
        reader.start()
    timed_out = False
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:  # also on KeyboardInterrupt; a group that has ended is gone already
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for reader in readers:
        reader.join(_DRAIN_TIMEOUT_S)
    result: dict[str, Any] = {name: "".join(lines) for name, lines in captured.items()}
    result["returncode"] = None if timed_out else process.returncode
    if timed_out:
        result["error"] = "timeout"
    elif process.returncode != 0:
        result["error"] = "non-zero exit"
    return result


def _copy(source: IO[str] | None, destination: IO[str], captured: list[str]) -> None:
    assert source is not None
    with source:
        for line in source:
            captured.append(line)
            destination.write(line)
