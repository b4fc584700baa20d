# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Ranks that torchrun has started again after a failure resume the run that the same job began, without a flag."""

import logging
import os
from contextlib import suppress
from pathlib import Path

from bionemo.core.files import write_text
from bionemo.llm.training.run_directory import RunDirectory


logger = logging.getLogger(__name__)

JOB_FILE = ".torchrun-job"


def torchrun_job() -> str | None:
    """Return what tells one torchrun from another, the same after a restart; None outside of torchrun."""
    run_id = os.environ.get("TORCHELASTIC_RUN_ID")
    if run_id in (None, "none"):  # its default where no --rdzv-id was given: then its process tells
        return None if run_id is None else f"process {os.getppid()} {_started(os.getppid())}"
    return run_id


def restarts_run(run: RunDirectory) -> bool:
    """Return whether this process is a restarted rank of the job that began a run.

    Args:
        run: Folder of the run; another job's is not touched without ``--resume-if-exists``.
    """
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return False
    path = run.path / JOB_FILE
    is_own = path.is_file() and path.read_text(encoding="utf-8") == torchrun_job()
    if is_own:
        logger.warning("%s: torchrun has restarted this run after a failure; resuming it", run.path)
    return is_own


def leave_job(run: RunDirectory) -> None:
    """Record which torchrun began, or resumed, a run."""
    job = torchrun_job()
    if job is not None:
        write_text(run.path / JOB_FILE, job)


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since the computer did; empty where /proc is missing."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return ""
