# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Run the project's commands the way users do: in a shell, in a process of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bionemo.testing.network_ports import free_port


def run_command_with_timeout(
    command: str, path: str | Path, env: Mapping[str, str] | None = None, timeout: float = 3600
) -> subprocess.CompletedProcess[str]:
    """Run a shell command in a folder and wait for it; it takes its process group with it when it is late.

    Args:
        command: For ``/bin/sh``.
        path: Working folder.
        env: Its environment; default: this process's.
        timeout: Seconds.

    Returns:
        Exit status and both outputs, whatever the status.

    Raises:
        subprocess.TimeoutExpired: The command and all that it started were killed; holds the output so far.
    """
    process = subprocess.Popen(
        command,
        shell=True,
        cwd=path,
        env=dict(os.environ if env is None else env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise subprocess.TimeoutExpired(command, timeout, stdout, stderr) from None
        raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def run_command_in_subprocess(command: str, path: str | Path, timeout: float = 3600) -> str:
    """Run a shell command that must succeed, with a free ``MASTER_PORT`` in its environment.

    Returns:
        What it wrote to stdout.

    Raises:
        AssertionError: Non-zero exit status; both outputs are printed.
        subprocess.TimeoutExpired: It was late and was killed with all that it started.
    """
    done = run_command_with_timeout(command, path, {**os.environ, "MASTER_PORT": str(free_port())}, timeout)
    if done.returncode != 0:
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        raise AssertionError(f"Command failed: {command}")
    return done.stdout
