# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Learning-rate range test (Smith 2017): a short trial at growing rates, undone afterwards."""

import copy
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bionemo.core.errors import BionemoError
from bionemo.core.files import write_bytes
from bionemo.llm.training.loss_plot import smoothed
from bionemo.llm.training.optimizer import OptimizerConfig, build_optimizer


class RangeTest(NamedTuple):
    """Losses of the trial."""

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    suggestion: float
    """Rate of the steepest descent of the smoothed loss."""


def find_learning_rate(
    module: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    loss: Callable[[nn.Module, Mapping[str, Any]], tuple[Tensor, Tensor]],
    settings: OptimizerConfig,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    num_steps: int = 100,
) -> RangeTest:
    """Train for a few steps at exponentially growing rates; the module's weights are put back.

    Args:
        module: On its device.
        batches: On its device, endless or at least ``num_steps``.
        loss: ``(module, batch) -> (loss sum, number it is divided by)``.
        settings: Of AdamW; its rate is not used.
        lowest: Rate of the first step.
        highest: Rate of the last step.
        num_steps: Steps; the trial ends before where the mean of recent losses grows to four times its least.

    Raises:
        BionemoError: The loss was not finite from the start, or never fell.
    """
    before = copy.deepcopy(module.state_dict())
    optimizer = build_optimizer(module, settings)
    all_rates = np.geomspace(lowest, highest, num_steps)
    losses: list[float] = []
    try:
        for rate, batch in zip(all_rates, batches, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = float(rate) * group.get("lr_multiplier", 1.0)
            optimizer.zero_grad(set_to_none=True)
            loss_sum, count = loss(module, batch)
            mean = loss_sum / count.clamp(min=1)
            mean.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip)
            optimizer.step()
            value = mean.item()
            if not math.isfinite(value):
                break
            losses.append(value)
            recent = running_mean(losses)
            if recent[-1] > 4 * recent.min():
                break
    finally:
        module.load_state_dict(before)
        module.zero_grad(set_to_none=True)
    if len(losses) < 10:
        raise BionemoError("--find-lr: the loss grew or was not finite from the start. Give --lr.")
    values, rates = np.array(losses), all_rates[: len(losses)]
    slopes = np.gradient(smoothed(running_mean(values), window=max(1, len(values) // 20)), np.log(rates))
    if slopes.min() >= 0:
        raise BionemoError("--find-lr: the loss never fell. Give --lr.")
    return RangeTest(rates, values, float(rates[slopes.argmin()]))


def running_mean(losses: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exponential moving averages, each over the losses so far with a memory of ten, without bias at the start.

    >>> running_mean([1.0, 1.0, 1.0]).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    total, found = 0.0, []
    for number, loss in enumerate(losses, start=1):
        total = 0.9 * total + 0.1 * float(loss)
        found.append(total / (1.0 - 0.9**number))
    return np.array(found)


def draw_range_test(found: RangeTest, path: Path) -> None:
    """Draw loss over rate, with the rate that is suggested, to a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.semilogx(found.rates, found.losses, color="#56B4E9", linewidth=0.8, alpha=0.6)
    axes.semilogx(found.rates, running_mean(found.losses), color="#0072B2")
    axes.axvline(found.suggestion, color="#333333", linestyle=(0, (5, 3)), label=f"steepest: {found.suggestion:.1e}")
    axes.set(xlabel="learning rate", ylabel="training loss", title="Learning-rate range test")
    axes.legend(frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    write_bytes(path, picture.getvalue())
