# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A run of one process is not launched: no threads are set for it, and no variable of a launch stays behind."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


ADDRESS_VARIABLES = ("MASTER_ADDR", "MASTER_PORT")
"""By which processes are told where they meet."""


class LaunchesSeveral:
    """Mixin for strategies of Lightning, before the strategy: its launcher is for more than one process.

    It starts the other processes, and then also sets ``OMP_NUM_THREADS``, this process's number of threads (the last
    digits of sums depend on it) and its rank, which a later run in this process would take for a launch.
    """

    num_processes: int
    num_nodes: int

    def _configure_launcher(self) -> None:
        if self.num_processes * self.num_nodes > 1:
            strategy: Any = super()
            strategy._configure_launcher()


@contextmanager
def address_restored(world_size: int) -> Iterator[None]:
    """Take back the address that is set where a process group is made, if it is of one process.

    Later runs and child processes would take it for theirs. Several ranks keep it: each of them runs the whole script,
    and meets the others again in its next run.

    Args:
        world_size: Processes of the run.
    """
    before = {name: os.environ.get(name) for name in ADDRESS_VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items() if world_size == 1 else ():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
