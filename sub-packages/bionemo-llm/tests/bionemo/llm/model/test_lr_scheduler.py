# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Warm-up, decay and floor of the pretraining schedule, and its exact resumption."""

import json

import pytest
import torch

from bionemo.core.errors import ConfigError
from bionemo.llm.model.lr_scheduler import WarmupAnnealDecayHold, WarmupCosineHold, cosine_lr_at_step, lr_at_step
from bionemo.llm.training.optimizer import OptimizerConfig, build_schedule


PUBLISHED = {"warmup_steps": 2_000, "max_steps": 500_000, "max_lr": 4e-4, "min_lr": 4e-5}
SHORT = {"warmup_steps": 4, "max_steps": 20, "max_lr": 1.0, "min_lr": 0.2}


def _optimizer(num_groups: int = 1) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(num_groups)], lr=123.0)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 4e-5),
        (500, 1.3e-4),  # a quarter of the way from 4e-5 to 4e-4
        (1_000, 2.2e-4),
        (2_000, 4e-4),
        (251_000, 2e-4),  # half of the 498,000 decaying steps
        (450_200, 4e-5),  # nine tenths: the floor is reached exactly here
        (480_000, 4e-5),
        (500_000, 4e-5),
        (600_000, 4e-5),  # a run that goes on keeps the floor
    ],
)
def test_published_schedule(step, expected):
    # Worked out by hand from the formula, so to rounding error of a float64.
    assert lr_at_step(step, **PUBLISHED) == pytest.approx(expected, rel=1e-12)


def test_floor_follows_anneal_percentage_not_min_lr():
    assert lr_at_step(499_999, **PUBLISHED, anneal_percentage=0.25) == pytest.approx(1e-4, rel=1e-12)
    assert lr_at_step(499_999, warmup_steps=0, max_steps=500_000, max_lr=4e-4, min_lr=3e-4) == pytest.approx(4e-5)


def test_no_warmup_starts_at_the_peak():
    assert lr_at_step(0, warmup_steps=0, max_steps=10, max_lr=1.0) == 1.0
    assert lr_at_step(5, warmup_steps=0, max_steps=10, max_lr=1.0) == 0.5


@pytest.mark.parametrize("max_steps", [3, 10])
def test_warmup_as_long_as_the_run_or_longer(max_steps):
    rates = [lr_at_step(t, warmup_steps=10, max_steps=max_steps, max_lr=1.0, min_lr=0.0) for t in range(13)]
    assert rates == pytest.approx([t / 10 for t in range(11)] + [0.1, 0.1])


def test_every_parameter_group_follows_the_function():
    optimizer = _optimizer(num_groups=3)
    scheduler = WarmupAnnealDecayHold(optimizer, **SHORT)
    for step in range(25):
        assert [group["lr"] for group in optimizer.param_groups] == [lr_at_step(step, **SHORT)] * 3
        optimizer.step()
        scheduler.step()


def test_resumes_exactly_from_json_state():
    straight = WarmupAnnealDecayHold(_optimizer(), **SHORT)
    interrupted = WarmupAnnealDecayHold(_optimizer(), **SHORT)
    for scheduler in (straight, interrupted):
        for _ in range(7):
            scheduler.optimizer.step()
            scheduler.step()
    # Training states hold no pickle, so the state has to survive JSON.
    state = json.loads(json.dumps(interrupted.state_dict()))
    resumed = WarmupAnnealDecayHold(_optimizer(), **SHORT)
    resumed.load_state_dict(state)
    for _ in range(9):
        for scheduler in (straight, resumed):
            scheduler.optimizer.step()
            scheduler.step()
        assert resumed.get_last_lr() == straight.get_last_lr()
    assert resumed.get_last_lr() == [lr_at_step(16, **SHORT)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"max_lr": 0.0}, "max_lr is 0.0"),
        ({"max_lr": float("nan")}, "max_lr is nan"),
        ({"min_lr": 2.0}, "min_lr is 2.0"),
        ({"anneal_percentage": 1.5}, "anneal_percentage is 1.5"),
    ],
)
def test_impossible_settings_name_the_field(change, message):
    with pytest.raises(ConfigError, match=message):
        WarmupAnnealDecayHold(_optimizer(), **{**SHORT, **change})


COSINE = {"warmup_steps": 4, "max_steps": 30, "hold_steps": 6, "max_lr": 1.0, "min_lr": 0.01}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.2),
        (3, 0.8),
        (4, 1.0),
        (14, 0.505),  # half of the 20 decaying steps
        (19, 0.01 + 0.99 * 0.5 * (1 - 0.5**0.5)),  # three quarters
        (24, 0.01),
        (29, 0.01),
        (100, 0.01),
    ],
)
def test_cosine_schedule(step, expected):
    assert cosine_lr_at_step(step, **COSINE) == pytest.approx(expected, rel=1e-12)


def test_cosine_schedule_is_resumed_exactly():
    straight = WarmupCosineHold(_optimizer(), **COSINE)
    rates = [straight.get_last_lr()]
    for _ in range(30):
        straight.optimizer.step()
        straight.step()
        rates.append(straight.get_last_lr())
        resumed = WarmupCosineHold(_optimizer(), **COSINE)
        resumed.load_state_dict(json.loads(json.dumps(straight.state_dict())))
        assert resumed.get_last_lr() == rates[-1]
    assert rates == [[cosine_lr_at_step(step, **COSINE)] for step in range(31)]


def test_the_optimizers_settings_choose_the_schedule():
    linear = build_schedule(_optimizer(), OptimizerConfig(lr=1.0, warmup_steps=4, max_steps=20))
    assert isinstance(linear, WarmupAnnealDecayHold)
    assert linear.get_last_lr() == [0.1]
    cosine = build_schedule(
        _optimizer(), OptimizerConfig(lr=1.0, warmup_steps=4, max_steps=30, hold_steps=6, schedule="cosine")
    )
    assert isinstance(cosine, WarmupCosineHold)
    assert (cosine.get_last_lr(), cosine.min_lr) == ([0.2], 0.01)
    with pytest.raises(ConfigError, match="schedule polynomial: not one of linear, cosine"):
        OptimizerConfig(schedule="polynomial")


def test_a_cosine_schedule_without_room_is_refused():
    with pytest.raises(ConfigError, match="do not fit in max_steps 9"):
        WarmupCosineHold(_optimizer(), **{**COSINE, "max_steps": 9})
