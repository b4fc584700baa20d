# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Progress, token counts and mean losses of a run, shared by the Lightning modules of both training engines.

Counts stay on the device until somebody reads them, so that no step waits for it.
"""

import math

import lightning.pytorch as pl
import torch
from torch import Tensor

from bionemo.core.data.size_aware_batching import PlanPosition
from bionemo.core.errors import BionemoError
from bionemo.llm.checkpoints.training_state import Progress


LOWER_RATE = "Lower --lr, or lengthen --warmup-steps."


class MeanLoss:
    """Running sum and count of a loss, kept on the device."""

    def __init__(self) -> None:
        self._total: Tensor | None = None

    def add(self, loss_sum: Tensor, count: Tensor) -> None:
        """Add one batch: the sum of its loss, and the number of labels."""
        total = torch.stack((loss_sum.detach().double(), count.detach().double()))
        self._total = total if self._total is None else self._total + total

    def take(self, device: torch.device) -> Tensor:
        """Return [sum, count] in float64, and reset."""
        total, self._total = self._total, None
        return torch.zeros(2, dtype=torch.float64, device=device) if total is None else total


class StepAccounting:
    """Progress and mean losses of a run.

    Args:
        progress: Where the run stands; it is advanced in place.
        reduced_each_step: Whether the counts given to ``finish_step`` are already summed over all ranks; otherwise
            they are summed when they are read.
    """

    def __init__(self, progress: Progress | None = None, *, reduced_each_step: bool = True) -> None:
        self.progress = Progress() if progress is None else progress
        self.train_loss = MeanLoss()
        self.val_losses: dict[int, MeanLoss] = {}
        self.num_micro_batches = 0
        """Micro-batches of the step under way on this rank."""
        self._reduced_each_step = reduced_each_step
        self._step_counts: Tensor | None = None
        self._unread_counts: Tensor | None = None
        self._next_position: PlanPosition | None = None

    def add_micro_batch(self, counts: Tensor, next_position: PlanPosition | None) -> None:
        """Add one micro-batch to the step under way.

        Args:
            counts: [3] float64: labels, sequences and tokens.
            next_position: Where the packed batch schedule continues after it; None for data without a schedule.
        """
        self._step_counts = counts if self._step_counts is None else self._step_counts + counts
        self.num_micro_batches += 1
        self._next_position = next_position

    @property
    def step_counts(self) -> Tensor:
        """[3] float64, labels, sequences and tokens of the step under way on this rank.

        Raises:
            BionemoError: The step has no micro-batch yet.
        """
        if self._step_counts is None:
            raise BionemoError("an optimizer step without a micro-batch: training_step() was not called before it.")
        return self._step_counts

    def finish_step(self, counts: Tensor, *, data_parallel_size: int) -> None:
        """Count one optimizer step.

        Args:
            counts: [3] float64, ``step_counts``, summed over all ranks if ``reduced_each_step``.
            data_parallel_size: Ranks that see different packed batches.
        """
        progress = self.progress
        progress.step += 1
        progress.consumed_samples += self.num_micro_batches * data_parallel_size
        self._unread_counts = counts if self._unread_counts is None else self._unread_counts + counts
        if self._next_position is not None:
            progress.window, progress.pack = self._next_position
        self._step_counts, self.num_micro_batches = None, 0

    def settle(self, trainer: pl.Trainer) -> Progress:
        """Read the counts that are still on the device into ``progress``; a collective call of all ranks."""
        if self._unread_counts is not None:
            counts = self._unread_counts
            if not self._reduced_each_step:
                counts = sum_over_ranks(counts.to(trainer.strategy.root_device), trainer)
            _, sequences, tokens = counts.tolist()
            self.progress.consumed_sequences += int(sequences)
            self.progress.consumed_tokens += int(tokens)
            self._unread_counts = None
        return self.progress

    def mean(self, loss: MeanLoss, trainer: pl.Trainer, *, advice: str = LOWER_RATE) -> float:
        """Return the mean of a loss over all ranks since it was last read, NaN without labels; resets it.

        Args:
            loss: Sum and count of this rank.
            trainer: Knows the other ranks.
            advice: What to do about a loss that is not finite.

        Raises:
            BionemoError: It is not finite.
        """
        loss_sum, count = sum_over_ranks(loss.take(trainer.strategy.root_device), trainer).tolist()
        mean = loss_sum / count if count else math.nan
        if count and not math.isfinite(mean):
            raise BionemoError(f"the loss is {mean} after step {self.progress.step}. {advice}")
        return mean


def sum_over_ranks(values: Tensor, trainer: pl.Trainer) -> Tensor:
    """Return the sum of a tensor over all ranks, the tensor itself where there is one rank.

    On GPUs nothing waits; the reduction of Lightning's strategies has a barrier before it.
    """
    if trainer.world_size == 1:
        return values
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total


def accounting_of(module: pl.LightningModule) -> StepAccounting:
    """Return the counts that a Lightning module of either training engine keeps.

    Raises:
        BionemoError: It is another kind of module.
    """
    accounting = getattr(module, "accounting", None)
    if not isinstance(accounting, StepAccounting):
        raise BionemoError(f"{type(module).__name__}: keeps no StepAccounting, which metrics and checkpoints read.")
    return accounting
