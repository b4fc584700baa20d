# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which of several cooperating processes this one is."""

import os
import sys


def process_rank() -> int:
    """Rank of this process among all of a distributed run, 0 when it runs alone.

    Asks torch.distributed where that is loaded and initialized (it is never imported for this), then what torchrun
    (``RANK``), SLURM (``SLURM_PROCID``) and Lightning's own launcher (``LOCAL_RANK``) put into the environment.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        rank = _number(name)
        if rank is not None:
            return rank
    return 0


def started_ranks() -> int | None:
    """Number of processes that torchrun or srun started together; None in a process that neither of them started.

    Lightning's own launcher announces a world size too, but no rank: its processes follow the settings.
    """
    return _number("SLURM_STEP_NUM_TASKS") if _number("RANK") is None else _number("WORLD_SIZE")


def _number(variable: str) -> int | None:
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else None
