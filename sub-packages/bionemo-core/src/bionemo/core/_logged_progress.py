# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The bar of a loop where no bar can be shown: a line every minute."""

import io
import logging
import sys
from typing import Any

from tqdm import tqdm


class LoggedProgress(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A tqdm bar that draws nothing and logs how far the loop is.

    Args:
        logger: Where the lines go; to stderr where it shows no INFO, as in a notebook.
        every_s: Seconds between lines; a loop that ends sooner logs nothing.
        arguments: As tqdm takes them.
    """

    monitor_interval = 0  # no thread: it would only redraw

    def __init__(self, *arguments: Any, logger: logging.Logger, every_s: float, **settings: Any) -> None:
        self._logger = logger
        super().__init__(
            *arguments, file=io.StringIO(), mininterval=every_s, miniters=1, delay=every_s, disable=False, **settings
        )

    def refresh(self, *_: Any, **__: Any) -> None:
        """Log a line; tqdm calls this when it would draw."""
        facts = self.format_dict
        seconds, done = facts["elapsed"], self.n - facts["initial"]
        of_total = f" of {self._amount(self.total)}" if self.total else ""
        left = ""
        if self.total and done > 0:
            left = f", time left {self.format_interval(seconds / done * (self.total - self.n))}"
        text = f"{self.desc or 'Progress'}: {self._amount(self.n)}{of_total} {self.unit}{left}"
        if self._logger.isEnabledFor(logging.INFO) and self._logger.hasHandlers():
            self._logger.info(text)
        else:
            sys.stderr.write(f"{text}\n")

    def display(self, *_: Any, **__: Any) -> None:
        """Draw nothing."""

    def _amount(self, number: float) -> str:
        return str(self.format_sizeof(number, divisor=1024)) if self.unit == "B" else f"{number:,.0f}"
