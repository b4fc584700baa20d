# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import copy
import signal
import sys

import lightning.pytorch as pl
import pytest
import torch

from bionemo.core.errors import MissingDependencyError
from bionemo.testing import testing_callbacks as recording
from bionemo.testing.callbacks import MetricTracker
from bionemo.testing.harnesses.mode import Mode


class Weight(pl.LightningModule):
    """One weight, pulled towards the batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        return self.weight * batch

    def training_step(self, batch, batch_idx):
        loss = (self(batch) - 1).square().mean()
        self.log("train_loss", loss)
        return {"loss": loss, "index": batch_idx, "other": 0}

    def validation_step(self, batch, batch_idx):
        loss = (self(batch) - 1).square().mean()
        self.log("val_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(*callbacks, module=None, **settings):
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **{"max_epochs": 1, **settings},
    )
    batches = torch.utils.data.DataLoader(torch.arange(1.0, 9.0), batch_size=2)
    trainer.fit(module or Weight(), batches, batches)
    return trainer


def test_records_of_accumulated_steps_and_batches():
    steps, rates, states = (
        recording.GlobalStepStateCallback(),
        recording.LearningRateCallback(),
        recording.OptimizerStateCallback(),
    )
    inputs, outputs, losses = (
        recording.TrainInputCallback(),
        recording.TrainOutputCallback(),
        recording.TrainLossCallback(),
    )
    valid_inputs, valid_losses = recording.ValidInputCallback(), recording.ValidLossCallback()
    fit(steps, rates, states, inputs, outputs, losses, valid_inputs, valid_losses, accumulate_grad_batches=2)
    assert [int(step) for step in steps.data] == [1, 2]
    assert [float(rate) for rate in rates.data] == [0.1, 0.1]
    assert rates.data[0].shape == ()
    assert len(states.data) == 2
    assert [batch.tolist() for batch in inputs.data] == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert [output.tolist() for output in outputs.data[:2]] == [[0, 0], [0, 0]]
    assert outputs.data[2].abs().min() > 0
    assert [loss.requires_grad for loss in losses.data] == [False] * 4
    assert len(valid_inputs.data) == len(valid_losses.data) == 4  # without the sanity check's two


def test_records_stay_as_they_were_and_copies_are_empty():
    states = recording.OptimizerStateCallback()
    module = Weight()
    module.configure_optimizers = lambda: torch.optim.Adam(module.parameters(), lr=0.1)
    fit(states, module=module)
    moments = [float(state[0][0]["exp_avg"]) for state in states.data]
    assert len(set(moments)) == 4  # not four views of the last one
    twin = copy.deepcopy(states)
    assert twin.data == []
    assert len(states.data) == 4


def test_no_hook_is_left_behind_by_a_failing_run():
    module, outputs = Weight(), recording.TrainOutputCallback()
    module.on_train_batch_end = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        fit(outputs, module=module)
    module(torch.ones(1))
    assert len(outputs.data) == 1


def test_stop_after_the_first_validation():
    trainer = fit(recording.StopAfterValidEpochEndCallback(), val_check_interval=3, max_epochs=5)
    assert trainer.global_step == 3


@pytest.mark.parametrize(("before", "steps"), [(False, 3), (True, 2)])
def test_interruption_by_the_trainers_flag(before, steps):
    callback = recording.SignalAfterGivenStepCallback(3, use_trainer_should_stop=True, stop_before_step=before)
    assert fit(callback, max_epochs=5).global_step == steps


def test_interruption_by_a_signal():
    received = []
    previous = signal.signal(signal.SIGUSR2, lambda number, _: received.append(number))
    try:
        fit(recording.SignalAfterGivenStepCallback(4))
    finally:
        signal.signal(signal.SIGUSR2, previous)
    assert received == [signal.SIGUSR2]


def test_stop_and_go_callbacks_know_two_modes():
    with pytest.raises(ValueError, match=r"mode must be 'stop' or 'go', got Mode\.CONTINUOUS"):
        recording.TrainValInitConsumedSamplesStopAndGoCallback(Mode.CONTINUOUS)


def test_nobody_counting_samples_is_told():
    with pytest.raises(ValueError, match="Nobody counts consumed samples"):
        fit(recording.ConsumedSamplesCallback())


def test_metric_tracker():
    tracker = MetricTracker(metrics_to_track_val=["missing"], metrics_to_track_train=["loss", "index"])
    fit(tracker)
    train, val = tracker.collection_train, tracker.collection_val
    assert train["index"].tolist() == [0, 1, 2, 3]
    assert train["loss"].shape == (4,)
    assert train["loss"][0] == 1.0
    assert train["logged_metrics"] == ["train_loss", "val_loss"]
    assert "other" not in train
    assert val["unnamed"].shape == (4,)
    assert val["missing"].shape == (0,)
    assert "val_loss" in val["logged_metrics"]


def test_without_lightning_one_sentence_says_so(monkeypatch):
    for name in [name for name in sys.modules if name == "lightning" or name.startswith("lightning.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "bionemo.testing.callbacks")
    with pytest.raises(MissingDependencyError, match=r"lightning\.pytorch .*'bionemo-testing\[lightning\]'"):
        import bionemo.testing.callbacks  # noqa: F401
