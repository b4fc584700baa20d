# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Environment variables by which Lightning's and NeMo's launchers tell a process its rank and where ranks meet."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


LAUNCH_VARIABLES = ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


@contextmanager
def launch_variables_restored(world_size: int) -> Iterator[None]:
    """Take back what a run of one process sets, so that it does not speak of later runs and child processes.

    Several ranks keep theirs: each of them runs the whole script, and meets the others again in its next run.

    Args:
        world_size: Processes of the run.
    """
    before = {name: os.environ.get(name) for name in LAUNCH_VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items() if world_size == 1 else ():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
