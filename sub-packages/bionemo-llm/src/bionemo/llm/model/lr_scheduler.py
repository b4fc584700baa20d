# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules of pretraining: a linear warm-up, a linear or cosine decay, then a constant floor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch.optim.lr_scheduler import LRScheduler

from bionemo.core.errors import ConfigError


if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


def lr_at_step(
    step: int,
    *,
    warmup_steps: int,
    max_steps: int,
    max_lr: float,
    min_lr: float = 4e-5,
    anneal_percentage: float = 0.10,
) -> float:
    """Learning rate of one optimizer step.

    During warm-up the rate climbs in a straight line from ``min_lr`` to ``max_lr``. Afterwards it falls towards zero
    at ``max_steps``, and stays at ``max_lr * anneal_percentage`` once it has fallen that far. ``min_lr`` is only where
    the warm-up starts, never a floor.

    Args:
        step: Optimizer steps done so far, so 0 for the first one.
        warmup_steps: Length of the warm-up in optimizer steps; 0 starts at ``max_lr``.
        max_steps: Step at which the decay would reach zero. A run may stop earlier or continue longer.
        max_lr: Peak rate, reached at ``warmup_steps``.
        min_lr: Rate of step 0.
        anneal_percentage: Floor as a fraction of ``max_lr``, between 0 and 1.

    Returns:
        The rate, a plain float.

    Source: Lin et al. 2023 (ESM-2), supplementary methods; the decay ends at a tenth of the peak.
    """
    if step < warmup_steps:
        return min_lr + (max_lr - min_lr) * step / warmup_steps
    # Steps after the warm-up; at least 1, so that a warm-up as long as the whole run is no division by zero.
    decay_steps = max(max_steps - warmup_steps, 1)
    decayed = max_lr * (1.0 - (step - warmup_steps) / decay_steps)
    return max(decayed, max_lr * anneal_percentage)


class WarmupAnnealDecayHold(LRScheduler):
    """Set the learning rate of every parameter group to that of ``lr_at_step``, moved on by ``step()``."""

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        warmup_steps: int,
        max_steps: int,
        max_lr: float,
        min_lr: float = 4e-5,
        anneal_percentage: float = 0.10,
        last_epoch: int = -1,
    ) -> None:
        """Check the settings and set the rate of the first step.

        Args:
            optimizer: Its groups' ``lr`` are overwritten.
            warmup_steps: As in ``lr_at_step``.
            max_steps: As in ``lr_at_step``.
            max_lr: As in ``lr_at_step``.
            min_lr: As in ``lr_at_step``.
            anneal_percentage: As in ``lr_at_step``.
            last_epoch: Index of the last step done; -1 starts a new run. (torch counts every call of ``step()`` as an
                epoch.)

        Raises:
            ConfigError: A setting is out of range; it is also a ``ValueError``.
        """
        _check_settings(warmup_steps, max_steps, max_lr, min_lr, anneal_percentage)
        self.warmup_steps = warmup_steps
        self.max_steps = max_steps
        self.max_lr = max_lr
        self.min_lr = min_lr
        self.anneal_percentage = anneal_percentage
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The rate of the current step, once per parameter group."""
        lr = lr_at_step(
            self.last_epoch,
            warmup_steps=self.warmup_steps,
            max_steps=self.max_steps,
            max_lr=self.max_lr,
            min_lr=self.min_lr,
            anneal_percentage=self.anneal_percentage,
        )
        return [lr * group.get("lr_multiplier", 1.0) for group in self.optimizer.param_groups]


def cosine_lr_at_step(
    step: int, *, warmup_steps: int, max_steps: int, hold_steps: int, max_lr: float, min_lr: float
) -> float:
    """Learning rate of one optimizer step: linear warm-up, half a cosine, a floor for the last steps.

    Args:
        step: Optimizer steps done so far, so 0 for the first one.
        warmup_steps: Steps before the peak; the first already has a rate above 0.
        max_steps: Steps of the whole schedule; a longer run keeps the floor.
        hold_steps: How many of them, the last ones, have the floor.
        max_lr: Peak rate, reached at ``warmup_steps``.
        min_lr: Floor.

    Returns:
        The rate, a plain float.

    Source: NeMo's cosine schedule as BioNeMo's Geneformer recipes set it.
    """
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    decay_steps = max(max_steps - hold_steps - warmup_steps, 1)
    share = min((step - warmup_steps) / decay_steps, 1.0)
    return min_lr + (max_lr - min_lr) * 0.5 * (1.0 + math.cos(math.pi * share))


class WarmupCosineHold(LRScheduler):
    """Set the learning rate of every parameter group to that of ``cosine_lr_at_step``, moved on by ``step()``."""

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        warmup_steps: int,
        max_steps: int,
        hold_steps: int,
        max_lr: float,
        min_lr: float,
        last_epoch: int = -1,
    ) -> None:
        """Check the settings and set the rate of the first step.

        Args:
            optimizer: Its groups' ``lr`` are overwritten.
            warmup_steps: As in ``cosine_lr_at_step``.
            max_steps: As in ``cosine_lr_at_step``.
            hold_steps: As in ``cosine_lr_at_step``.
            max_lr: As in ``cosine_lr_at_step``.
            min_lr: As in ``cosine_lr_at_step``.
            last_epoch: Index of the last step done; -1 starts a new run.

        Raises:
            ConfigError: A setting is out of range.
        """
        _check_settings(warmup_steps, max_steps, max_lr, min_lr, 0.0)
        if hold_steps < 0 or warmup_steps + hold_steps > max_steps:
            raise ConfigError(
                f"warmup_steps {warmup_steps} and hold_steps {hold_steps} do not fit in max_steps {max_steps}."
            )
        self.warmup_steps = warmup_steps
        self.max_steps = max_steps
        self.hold_steps = hold_steps
        self.max_lr = max_lr
        self.min_lr = min_lr
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The rate of the current step, once per parameter group."""
        lr = cosine_lr_at_step(
            self.last_epoch,
            warmup_steps=self.warmup_steps,
            max_steps=self.max_steps,
            hold_steps=self.hold_steps,
            max_lr=self.max_lr,
            min_lr=self.min_lr,
        )
        return [lr * group.get("lr_multiplier", 1.0) for group in self.optimizer.param_groups]


def _check_settings(warmup_steps: int, max_steps: int, max_lr: float, min_lr: float, anneal_percentage: float) -> None:
    """Refuse settings that cannot describe a schedule."""
    if warmup_steps < 0:
        raise ConfigError(f"warmup_steps is {warmup_steps}, expected 0 or more optimizer steps.")
    if max_steps < 1:
        raise ConfigError(f"max_steps is {max_steps}, expected at least one optimizer step.")
    if not max_lr > 0:
        raise ConfigError(f"max_lr is {max_lr}, expected a rate above 0.")
    if not 0 <= min_lr <= max_lr:
        raise ConfigError(f"min_lr is {min_lr}, expected between 0 and max_lr {max_lr}: the warm-up starts there.")
    if not 0 <= anneal_percentage <= 1:
        raise ConfigError(f"anneal_percentage is {anneal_percentage}, expected a fraction of max_lr from 0 to 1.")
