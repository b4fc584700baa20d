# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How much memory a process takes on its way, mapped pages of files included; from Linux's ``/proc``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


RESET_PATH = Path("/proc/self/clear_refs")


def can_measure() -> bool:
    """Return whether this system tells a process its peak."""
    return RESET_PATH.exists()


def peak_increase(fn: Callable[[], Any]) -> int:
    """Call a function, and return the peak of this process's resident memory above what it was before, in bytes.

    Args:
        fn: What it returns counts as long as it is not freed on the way.
    """
    before = _status_bytes("VmRSS")
    RESET_PATH.write_text("5")  # the peak counts from here
    fn()
    return _status_bytes("VmHWM") - before


def _status_bytes(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10
