# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What surrounds a run, pretraining and fine-tuning alike: restarts, stop signals, the folder's lock, the log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

from bionemo.core.config import to_yaml
from bionemo.core.files import write_text
from bionemo.core.ranks import process_rank
from bionemo.llm.training.ranks.restarts import leave_job, resuming_restarts
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.run_log import run_log
from bionemo.llm.training.stop_requests import StopRequests, stop_requests


ConfigT = TypeVar("ConfigT", bound=Any)


class RunSession(NamedTuple, Generic[ConfigT]):
    """A run's folder, held by this process or, on other ranks, by the first one.

    Attributes:
        config: Settings of the command; where torchrun repeats it after a failure, they resume the run.
        run: The folder.
        stops: What signals ask for.
        begin_log: Opens ``log.txt``, with what was logged before.
    """

    config: ConfigT
    run: RunDirectory
    stops: StopRequests
    begin_log: Callable[[], None]

    def begin(self) -> None:
        """Write ``config.yaml`` and the log, and note that this torchrun job began the run; a second call repeats it.

        For runs of several models, whose training begins in folders of their own.
        """
        if process_rank() == 0:
            leave_job(self.run)
            write_text(self.run.config_path, to_yaml(self.config))
        self.begin_log()


@contextmanager
def run_session(config: ConfigT, run: RunDirectory) -> Iterator[RunSession[ConfigT]]:
    """Open a run: lock its folder, collect its log and handle stop signals until the block ends.

    Args:
        config: Has ``resume_if_exists`` and ``resume_from``.
        run: The folder.

    Raises:
        ConfigError: It holds a run that is not to be resumed, or another process is training in it.
        DataFileError: It cannot be written.
    """
    config = resuming_restarts(config, run)
    resume = config.resume_if_exists or config.resume_from is not None
    with stop_requests() as stops, run.locked_by_first_rank(resume=resume), run_log(run.log_path) as begin_log:
        yield RunSession(config, run, stops, begin_log)
