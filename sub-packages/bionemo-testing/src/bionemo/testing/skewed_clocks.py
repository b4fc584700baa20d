# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Ranks whose clocks differ, to test that one of them decides when a checkpoint is due. Needs bionemo-llm."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

from bionemo.core.optional_deps import require


FIRST_RANK_TICK_S = 100
"""Seconds between two looks at the first rank's clock."""
OTHER_RANKS_TICK_S = 10**6
"""Seconds between two looks at the clock of any other rank: it would find every checkpoint old."""


@contextlib.contextmanager
def skewed_clocks() -> Iterator[list[int]]:
    """Replace this rank's clock of checkpoints by one that ticks when it is read; ``RANK`` tells the ranks apart.

    Yields:
        The steps at which this rank has begun to save, filled while the block runs.
    """
    writer = require("bionemo.llm.training.checkpoint_writer", extra="bionemo-llm").CheckpointWriter
    accounting_of = require("bionemo.llm.training.step_accounting", extra="bionemo-llm").accounting_of
    tick_s = FIRST_RANK_TICK_S if os.environ["RANK"] == "0" else OTHER_RANKS_TICK_S
    saved: list[int] = []
    save, start = writer.save, writer.on_train_start

    def noted(self: Any, trainer: Any, module: Any) -> None:
        saved.append(accounting_of(module).progress.step)
        save(self, trainer, module)

    def skewed(self: Any, trainer: Any, module: Any) -> None:
        readings = iter(range(0, 10**12, tick_s))
        self.clock = lambda: float(next(readings))
        start(self, trainer, module)

    with mock.patch.object(writer, "save", noted), mock.patch.object(writer, "on_train_start", skewed):
        yield saved
