# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Ends a run when validation no longer improves: a pure function of metrics.csv, so that resumed runs agree."""

import logging

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray

from bionemo.llm.training.metrics_csv import read_metrics
from bionemo.llm.training.run_directory import RunDirectory


logger = logging.getLogger(__name__)


class EarlyStopping(pl.Callback):
    """Stops training after a number of validations without a better one; stands behind the metrics writer.

    Args:
        run: Its ``metrics.csv`` is read.
        monitor: Column.
        patience: Validations since the best one at which the run ends.
        higher_is_better: Whether larger values are better.
    """

    def __init__(self, run: RunDirectory, monitor: str, patience: int, *, higher_is_better: bool) -> None:
        self.run, self.monitor, self.patience, self.higher_is_better = run, monitor, patience, higher_is_better

    def _age(self, step: int) -> int:
        """Validations since the best one; rows after the step are of a run that went further and is resumed here."""
        columns = read_metrics(self.run.metrics_path)
        values = columns[self.monitor][columns["step"] <= step] if self.monitor in columns else np.zeros(0)
        return validations_since_best(values, higher_is_better=self.higher_is_better)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Decide on the first rank, stop on all."""
        stop = False
        if trainer.is_global_zero:
            age = self._age(trainer.global_step)
            stop = age >= self.patience
            if stop:
                logger.info("%s has not improved for %d validations: the run ends early", self.monitor, age)
        if trainer.strategy.broadcast(stop):
            trainer.should_stop = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do nothing more in a resumed run that had ended early."""
        if trainer.is_global_zero and self.run.metrics_path.exists() and trainer.global_step:
            if self._age(trainer.global_step) >= self.patience:
                trainer.should_stop = True
        if trainer.strategy.broadcast(trainer.should_stop):
            trainer.should_stop = True


def validations_since_best(values: NDArray[np.floating], *, higher_is_better: bool) -> int:
    """Return how many measured values follow the best one.

    >>> validations_since_best(np.array([2.0, np.nan, 1.0, 1.5, 1.0]), higher_is_better=False)
    2
    """
    measured = values[~np.isnan(values)]
    if not len(measured):
        return 0
    best = measured.argmax() if higher_is_better else measured.argmin()
    return len(measured) - 1 - int(best)
