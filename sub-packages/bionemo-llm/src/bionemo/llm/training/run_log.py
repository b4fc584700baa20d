# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The log of a run, ``log.txt``: kept in memory until the run has begun, so that a failed start leaves no file."""

import logging
import logging.handlers
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bionemo.core.ranks import process_rank


MAX_RECORDS = 100_000
"""Records kept before the run has begun."""


@contextmanager
def run_log(path: Path) -> Iterator[Callable[[], None]]:
    """Keep the first rank's log of the block; the function that is yielded opens the file and appends to it.

    Args:
        path: The file.
    """
    memory = logging.handlers.MemoryHandler(MAX_RECORDS, flushLevel=logging.CRITICAL + 1, flushOnClose=False)

    def begin() -> None:
        if process_rank() == 0 and memory.target is None:
            file = logging.FileHandler(path, encoding="utf-8")
            file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            memory.setTarget(file)
            memory.flush()
            memory.capacity = 1

    root = logging.getLogger("bionemo")
    root.addHandler(memory)
    try:
        yield begin
    finally:
        root.removeHandler(memory)
        target = memory.target
        memory.close()
        if target is not None:
            target.close()


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append the first rank's log of the block to a file."""
    with run_log(path) as begin:
        begin()
        yield
