# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Ranks that torchrun has started again after a failure resume the run that the same job began, without a flag.

torchrun's agents keep a key-value store that the ranks of all nodes see, for as long as the job lasts. What a run
notes there is found by later attempts of the same job alone. The run id does not tell as much (every job without
--rdzv-id has the same one), nor does the count of restarts (each node's agent has its own, which leaves out those that
another node caused).
"""

import logging
import os
from datetime import timedelta
from typing import Any, TypeVar

from torch.distributed import (  # type: ignore[attr-defined]  # torch does not list them as exports
    PrefixStore,
    Store,
    TCPStore,
)

from bionemo.core.config import changed
from bionemo.llm.training.run_directory import RunDirectory


logger = logging.getLogger(__name__)

ConfigT = TypeVar("ConfigT", bound=Any)
CONNECT_TIMEOUT = timedelta(minutes=1)


def restarts_run(run: RunDirectory) -> bool:
    """Return whether an earlier attempt of this torchrun job began a run; the same on all ranks.

    Args:
        run: Folder of the run; another job's is not touched without ``--resume-if-exists``.
    """
    store = _jobs_store()
    is_own = store is not None and store.check([str(run.path)])
    if is_own:
        logger.warning("%s: torchrun has restarted this run after a failure; resuming it", run.path)
    return is_own


def resuming_restarts(config: ConfigT, run: RunDirectory) -> ConfigT:
    """Return the settings of a command; where torchrun repeats it after a failure, they resume the run.

    Args:
        config: Has ``resume_if_exists`` and ``resume_from``, which counts until the run has a checkpoint of its own.
        run: Folder of the run.
    """
    if not restarts_run(run):
        return config
    begun_from = None if run.checkpoints() else config.resume_from  # it has gone on from there since
    return changed(config, resume_if_exists=True, resume_from=begun_from)


def leave_job(run: RunDirectory) -> None:
    """Note that this torchrun job began, or resumed, a run; called by one rank when all are past ``restarts_run``."""
    if (store := _jobs_store()) is not None:
        store.set(str(run.path), "")


def agent_listens() -> bool:
    """Return whether torchrun's agent keeps the store at the main address."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _jobs_store() -> Store | None:
    """Connect to the store of torchrun's agents; None outside of torchrun."""
    if not agent_listens():
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False, timeout=CONNECT_TIMEOUT, wait_for_workers=False)
    return PrefixStore("bionemo/begun", store)
