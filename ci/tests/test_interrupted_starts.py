# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Every command: Ctrl-C while it is being imported ends it by one line and exit code 130."""

import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest


NAMES = sorted(each.name for each in entry_points(group="console_scripts") if each.module.startswith("bionemo."))
INFER = "--checkpoint-path=x --data-path=x --results-path=x --embedding=mean".split()
MODULE = [sys.executable, "-m", "bionemo.esm2.scripts.infer_esm2"]


def heed_interrupts() -> None:
    """A shell lets what it runs in the background ignore SIGINT, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted_after(imported: str, command: list[str]) -> tuple[int, list[str]]:
    """Send SIGINT to a command's process group once a module was imported; returns exit code and what it said."""
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}  # stderr names each module when it was imported
    said = []
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed_interrupts
    ) as done:
        is_sent = False
        for line in done.stderr:
            if not line.startswith("import time:"):
                said.append(line.rstrip())
            elif line.split("|")[-1].strip() == imported and not is_sent:
                is_sent = True
                os.killpg(done.pid, signal.SIGINT)
    assert is_sent
    return done.returncode, said


@pytest.mark.parametrize("name", NAMES)
def test_before_the_flags_are_read(name: str) -> None:
    command = [str(Path(sys.executable).with_name(name))]
    assert interrupted_after("bionemo.core.command", command) == (130, [f"{name}: interrupted"])


@pytest.mark.parametrize("imported", ["numpy.lib.scimath", "torch.nn.functional"])
def test_in_the_imports_of_torch(imported: str) -> None:
    """NumPy is imported by C++ code of torch, out of which KeyboardInterrupt came as a RecursionError."""
    assert interrupted_after(imported, [*MODULE, *INFER]) == (130, ["infer_esm2: interrupted"])


def test_a_program_that_imports_a_command_keeps_its_interrupts() -> None:
    program = "import bionemo.esm2.scripts.infer_esm2, signal; signal.raise_signal(signal.SIGINT)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, preexec_fn=heed_interrupts)
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
