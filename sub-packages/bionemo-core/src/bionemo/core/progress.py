# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Progress: one bar for loops over files, records and cells, one for the steps of a training run."""

import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bionemo.core.ranks import process_rank


if TYPE_CHECKING:
    from rich.progress import Progress
    from tqdm import tqdm


logger = logging.getLogger(__name__)

LINE_EVERY_S = 60.0
"""Seconds between log lines where no bar is shown."""


def progress_bar(
    iterable: Iterable[Any] | None = None, total: float | None = None, *, unit: str = "it", description: str = ""
) -> "tqdm[Any]":
    """Build a tqdm bar on stderr; where stderr is no terminal a line every minute, on ranks other than 0 nothing.

    Args:
        iterable: What to loop over; without it the caller moves the bar by ``bar.update(n)``.
        total: Number of units to come; the iterable's length unless given.
        unit: Name of one unit, for example ``"seq"`` or ``"cell"``; ``"B"`` counts bytes in powers of 1,024.
        description: What is being done, shown before the bar.

    Returns:
        The bar: iterable, and a context manager.
    """
    settings: dict[str, Any] = {"total": total, "unit": unit, "desc": description or None}
    if process_rank() == 0 and not sys.stderr.isatty():
        from bionemo.core._logged_progress import LoggedProgress

        return LoggedProgress(iterable, logger=logger, every_s=LINE_EVERY_S, **settings)
    from tqdm import tqdm

    return tqdm(
        iterable,
        unit_scale=True,
        unit_divisor=1024 if unit == "B" else 1000,
        file=sys.stderr,
        disable=process_rank() != 0,
        dynamic_ncols=True,
        **settings,
    )


class StepProgress:
    """Progress of a training run: a bar on a terminal, elsewhere a log line a minute; on the first rank only.

    The bar shows the step, the latest figures and the time left; log lines appear above it.

    Args:
        total: Steps of the run.
        completed: Steps that are done already.
        clock: Seconds; for tests.
    """

    def __init__(self, total: int, *, completed: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self._clock = total, clock
        self._first_step, self._started_at = completed, clock()
        self._line_at = self._started_at
        self._figures: dict[str, str] = {}
        self._bar: Progress | None = None
        self._streams: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._is_silent = process_rank() != 0
        if not self._is_silent and sys.stderr.isatty():
            self._bar = self._start_bar(completed)

    def _start_bar(self, completed: int) -> "Progress":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TextColumn("time left"),
            TimeRemainingColumn(),
        )
        bar = Progress(*columns, console=Console(file=sys.stderr), redirect_stdout=False)
        before = sys.stderr
        bar.start()
        bar.add_task("training", total=self.total, completed=completed, figures="")
        for handler in logging.getLogger().handlers:  # lines of the log are printed above the bar
            if isinstance(handler, logging.StreamHandler) and handler.stream is before:
                self._streams.append((handler, before))
                handler.setStream(sys.stderr)
        return bar

    def update(self, completed: int, **figures: str) -> None:
        """Show the steps done and the latest figures, each with its unit, such as ``loss="2.71"``."""
        self._figures |= figures
        text = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self._figures.items())
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=completed, figures=text)
        elif not self._is_silent and self._clock() - self._line_at >= LINE_EVERY_S:
            left = format_seconds(self._seconds_left(completed))
            logger.info("step %d of %d: %s, time left %s", completed, self.total, text or "no figures yet", left)
            self._line_at = self._clock()

    def noted(self) -> None:
        """Put off the next log line: another one has just said how far the run is."""
        self._line_at = self._clock()

    def _seconds_left(self, completed: int) -> float:
        done = completed - self._first_step
        seconds = self._clock() - self._started_at
        return seconds / done * (self.total - completed) if done else float("nan")

    def close(self) -> None:
        """Remove the bar, so that the next line stands alone."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._streams = []


def format_seconds(seconds: float) -> str:
    """Write a duration as h:mm:ss, ``?`` where it is not known.

    >>> format_seconds(3725)
    '1:02:05'
    """
    if seconds != seconds:  # NaN
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
