# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Signals that ask a run to stop: SIGINT (Ctrl-C) and SIGTERM (schedulers), in training, validation and start-up."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from bionemo.core.stop_signals import STOP_SIGNALS


if TYPE_CHECKING:
    import lightning.pytorch as pl


logger = logging.getLogger(__name__)

TORCHRUN_REPEATS_S = 5.0
"""torchrun passes a Ctrl-C on to workers that the terminal has told already: within this time it is no second one."""


class RunStopped(SystemExit):
    """A run ended early because a signal asked for it.

    ``code`` is the exit code of the process: 128 + the signal's number, as shells report it (130, 143).
    """


class StopRequests:
    """What signals have asked for so far.

    Before the first optimizer step a signal ends the run at once: nothing would be lost. After that the first one is
    remembered until the step, or the validation batch, under way is done.

    Attributes:
        signum: The first signal, 0 for none.
        has_work: Whether there is something to save.
        ended_with: Exit code of a stop that has been raised; None before.
    """

    def __init__(self) -> None:
        self.signum = 0
        self.has_work = False
        self.ended_with: int | None = None
        self._pid = os.getpid()
        self._requested_at = 0.0

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Handle a signal.

        Raises:
            RunStopped: There is nothing to save yet.
        """
        if os.getpid() != self._pid:  # a forked process: the run's own one decides
            return
        name = signal.Signals(signum).name
        if self.signum:
            if signum == signal.SIGINT and not self._is_repeat():
                logger.warning("second SIGINT: leaving at once, without a checkpoint")
                os._exit(128 + signum)
            return
        self.signum, self._requested_at = signum, time.monotonic()
        if not self.has_work:
            logger.warning("%s before the first step: nothing to save", name)
            raise self.stopped(128 + signum)
        hint = "; Ctrl-C again leaves at once" if signum == signal.SIGINT else ""
        logger.warning("%s: saving a checkpoint after the step under way, then stopping%s", name, hint)

    def stopped(self, code: int) -> RunStopped:
        """Return what ends the run, and remember it: an error of the clean-up does not take its place."""
        self.ended_with = code
        return RunStopped(code)

    def _is_repeat(self) -> bool:
        under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
        return under_torchrun and time.monotonic() - self._requested_at < TORCHRUN_REPEATS_S

    def exit_code(self, signum: int, trainer: "pl.Trainer") -> int:
        """Return the exit code of this rank after a stop that all ranks have taken part in.

        It is 128 + signal, but 0 where a launcher would take that for a failure: torchrun would start the ranks
        again, and Lightning's own launcher would kill the first rank, whose exit code counts.
        """
        environment = getattr(trainer.strategy, "cluster_environment", None)
        launched_by_lightning = environment is not None and not environment.creates_processes_externally
        if "TORCHELASTIC_RUN_ID" in os.environ or (launched_by_lightning and trainer.global_rank > 0):
            return 0
        return 128 + signum


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Listen to SIGINT and SIGTERM for the length of the block; outside the main thread nothing is listened to."""
    requests = StopRequests()
    previous: dict[signal.Signals, Any] = {}
    try:
        for signum in STOP_SIGNALS:
            previous[signum] = signal.signal(signum, requests.handle)
    except ValueError:  # not in the main thread: somebody else owns the signals
        previous = {}
    try:
        yield requests
    except Exception as error:
        if requests.ended_with is None:
            raise
        raise RunStopped(requests.ended_with) from error  # what was cut short did not clean up well
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
