# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The established path leads to the one schedule, with ESM-2's published settings."""

import pytest
import torch

from bionemo.esm2.model.lr_scheduler import WarmupAnnealDecayHold
from bionemo.llm.model import lr_scheduler


def test_is_the_shared_schedule():
    assert WarmupAnnealDecayHold is lr_scheduler.WarmupAnnealDecayHold


def test_published_settings_start_at_min_lr():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = WarmupAnnealDecayHold(optimizer, warmup_steps=2_000, max_steps=500_000, max_lr=4e-4)
    assert scheduler.get_last_lr() == [4e-5]
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [pytest.approx(4e-5 + 3.6e-4 / 2_000, rel=1e-12)]
