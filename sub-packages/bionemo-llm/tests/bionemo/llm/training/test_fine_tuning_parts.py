# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Learning-rate finder, early stopping, rates of single layers, and further columns of metrics.csv."""

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from bionemo.core.errors import BionemoError, ConfigError, FormatError
from bionemo.llm.training.early_stopping import EarlyStopping, validations_since_best
from bionemo.llm.training.lr_finder import draw_range_test, find_learning_rate
from bionemo.llm.training.metrics_csv import MetricsCsv, read_metrics
from bionemo.llm.training.optimizer import OptimizerConfig, build_optimizer, build_schedule, parameters_in_order
from bionemo.llm.training.run_directory import RunDirectory


def quadratic(module: nn.Module, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
    error = module(batch["x"]) - batch["y"]
    return error.square().sum(), torch.tensor(float(error.numel()))


def test_the_finder_suggests_a_rate_that_trains_and_leaves_no_trace(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    batch = {"x": x, "y": x @ torch.arange(8.0).unsqueeze(1)}
    module = nn.Linear(8, 1)
    before = module.weight.clone()
    found = find_learning_rate(module, iter([batch] * 100), quadratic, OptimizerConfig(warmup_steps=1, max_steps=10))
    assert torch.equal(module.weight, before)
    assert module.weight.grad is None
    assert 1e-3 < found.suggestion < 1.0
    draw_range_test(found, tmp_path / "lr.png")
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    batch["y"] = batch["y"] * float("nan")
    with pytest.raises(BionemoError, match="not finite from the start"):
        find_learning_rate(module, iter([batch] * 100), quadratic, OptimizerConfig())


def test_validations_since_the_best_are_counted_in_both_directions() -> None:
    losses = np.array([3.0, np.nan, 2.0, 2.5, np.nan, 2.0])
    assert validations_since_best(losses, higher_is_better=False) == 2
    assert validations_since_best(losses, higher_is_better=True) == 3
    assert validations_since_best(np.full(3, np.nan), higher_is_better=True) == 0


def test_a_resumed_run_counts_no_validation_after_its_step(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    table = MetricsCsv(run.metrics_path)
    for step, loss in ((10, 1.0), (20, 2.0), (30, 3.0)):
        table.append({"step": step, "val_loss": loss})
    trainer = pl.Trainer(logger=False, barebones=True)
    for step, stops in ((20, False), (30, True)):
        trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = step
        trainer.should_stop = False
        EarlyStopping(run, "val_loss", 2, higher_is_better=False).on_train_start(trainer, pl.LightningModule())
        assert trainer.should_stop is stops


def test_a_layer_has_a_rate_of_its_own_through_the_schedule() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    settings = OptimizerConfig(lr=1e-2, warmup_steps=2, max_steps=10, scaled_layer="1.", lr_multiplier=5.0)
    optimizer = build_optimizer(module, settings)
    schedule = build_schedule(optimizer, settings)
    assert list(parameters_in_order(module, optimizer)) == ["0.weight", "1.weight", "0.bias", "1.bias"]
    for _ in range(3):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates[1] == 5 * rates[0] == rates[3] == 5 * rates[2]
        optimizer.step()
        schedule.step()
    with pytest.raises(ConfigError, match="no trained parameter has this in its name"):
        build_optimizer(module, OptimizerConfig(scaled_layer="nothing"))


def test_metrics_of_a_head_stand_behind_the_usual_columns(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    MetricsCsv(path, ("val_acc",)).append({"step": 2, "val_loss": 0.5, "val_acc": 0.25})
    resumed = MetricsCsv.resume_from(path, 2, ("val_acc",))
    resumed.append({"step": 4, "val_acc": 0.5})
    assert read_metrics(path)["val_acc"].tolist() == [0.25, 0.5]
    with pytest.raises(FormatError, match="the first line is"):
        MetricsCsv(path)
