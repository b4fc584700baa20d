# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while a command is being imported: one line and exit code 130, at once.

A ``KeyboardInterrupt`` inside an import has a traceback before the command's own code runs; afterwards it may reach
C++ code that ends the process by ``abort``, or come back as another error. There is nothing to clean up yet.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn


EXIT_INTERRUPTED = 130  # 128 + SIGINT, what a shell reports


def end_imports_on_interrupt(scripts_init: str) -> None:
    """Register a handler of Ctrl-C that ends this process at once, if it is a command of a package.

    Args:
        scripts_init: ``__file__`` of the package ``scripts``, whose modules are called like their commands.
    """
    is_command = Path(scripts_init).with_name(f"{_program()}.py").exists()
    if is_command and not _is_worker() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_on_interrupt() -> None:
    """Register Python's own handler again: the imports are done, and what runs from here on cleans up."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    os.write(2, f"{_program()}: interrupted\n".encode())
    os._exit(EXIT_INTERRUPTED)


def _program() -> str:
    """Return the name of the console script, or of the module after ``-m``, that this process runs."""
    if sys.argv[:1] == ["-m"]:  # its parent packages are being imported
        return sys.orig_argv[sys.orig_argv.index("-m") + 1].rpartition(".")[2]
    return Path(sys.argv[0]).stem if sys.argv else ""


def _is_worker() -> bool:
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and processes.parent_process() is not None
