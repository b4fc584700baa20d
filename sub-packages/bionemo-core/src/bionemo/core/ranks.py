# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which of several cooperating processes this one is."""

import os
import sys


def process_rank() -> int:
    """Rank of this process among all of a distributed run, 0 when it runs alone.

    Asks torch.distributed where that is loaded and initialised (it is never imported for this), then what torchrun
    (``RANK``), SLURM (``SLURM_PROCID``) and Lightning's own launcher (``LOCAL_RANK``) put into the environment.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        value = os.environ.get(name, "")
        if value.isdecimal():
            return int(value)
    return 0
