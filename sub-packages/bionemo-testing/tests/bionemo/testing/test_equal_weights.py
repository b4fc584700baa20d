# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The comparison at equal weights: what is exact is found exact, a wrong gradient in one layer is found there."""

from functools import partial

import pytest
import torch
from torch import nn

from bionemo.testing.equal_weights import Variant, differences_along_a_run


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(4, 4)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embedding(x)
        for layer in self.encoder.layers:
            x = layer(x).tanh()
        return x


def loss(model: nn.Module, batch: dict[str, torch.Tensor], *, factor: float = 1.0) -> torch.Tensor:
    return factor * (model(batch["x"]) - batch["y"]).square().mean()


def spoil(model: Model) -> None:
    model.encoder.layers[1].weight.register_hook(lambda gradient: gradient + gradient.flip(0))


def test_differences_are_found_where_they_are() -> None:
    pytest.importorskip("bionemo.llm")
    torch.manual_seed(0)
    batches = [{"x": torch.randn(32, 4), "y": torch.randn(32, 4)} for _ in range(12)]
    variants = {
        "exact": Variant(lambda model: None, loss),
        "loss": Variant(lambda model: None, partial(loss, factor=1.01)),
        "gradient": Variant(spoil, loss),
    }
    rows = differences_along_a_run(Model(), batches, loss, variants, steps=(1, 10))
    assert [(row.variant, row.step) for row in rows] == [(name, step) for step in (1, 10) for name in variants]
    for row in rows:
        assert row.loss == pytest.approx(0.01 if row.variant == "loss" else 0.0, abs=1e-6)
        if row.variant == "gradient":
            assert row.layer == "encoder.layers.1"
            assert row.cosine < 0.99
        else:
            assert row.cosine == pytest.approx(1.0, abs=1e-9)
