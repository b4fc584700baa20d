# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader, Sampler

from bionemo.testing import testing_callbacks as recording
from bionemo.testing.harnesses.mode import Mode
from bionemo.testing.harnesses.stop_and_go import StopAndGoHarness, get_callback


pytestmark = pytest.mark.skipif(
    tuple(map(int, pl.__version__.split(".")[:2])) < (2, 5),
    reason=f"Lightning {pl.__version__} repeats part of a validation when it resumes; 2.5 does not",
)

NUM_STEPS, VAL_INTERVAL = 8, 3


class FromPosition(Sampler):
    """Endless samples in order, from a position on."""

    def __init__(self, consumed_samples):
        self.consumed_samples = consumed_samples

    def __iter__(self):
        position = self.consumed_samples
        while True:
            yield position
            position += 1


class Points(torch.utils.data.Dataset):
    """Points of a noisy line, each a pure function of its index."""

    def __getitem__(self, index):
        x = torch.randn(5, generator=torch.Generator().manual_seed(index))
        return {"x": x, "y": x.sum(0, keepdim=True)}


class PointsModule(pl.LightningDataModule):
    def __init__(self):
        super().__init__()
        self.start = 0

    @property
    def consumed_samples(self):
        return self.trainer.fit_loop.epoch_loop.total_batch_idx * 4 + 4

    def state_dict(self):
        return {"start": self.consumed_samples}

    def load_state_dict(self, state):
        self.start = state["start"]

    def train_dataloader(self):
        return DataLoader(Points(), batch_size=4, sampler=FromPosition(self.start))

    def val_dataloader(self):
        return DataLoader(Points(), batch_size=4, sampler=FromPosition(0))


class Line(pl.LightningModule):
    def __init__(self, lr, bug=None):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(5, 1, generator=generator))
        self.lr, self.bug = lr, bug

    def forward(self, batch):
        return {"y": batch["x"] @ self.weight}

    def _loss(self, batch):
        return torch.nn.functional.mse_loss(self(batch)["y"], batch["y"])

    def training_step(self, batch, batch_idx):
        return self._loss(batch)

    def validation_step(self, batch, batch_idx):
        loss = self._loss(batch)
        self.log("val_loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint):
        if self.bug == "forgets its moments":
            for state in checkpoint["optimizer_states"][0]["state"].values():
                state["exp_avg"].zero_()
        if self.bug == "repeats its data":
            checkpoint["PointsModule"]["start"] = 0


class LineHarness(StopAndGoHarness):
    num_steps, val_check_interval, limit_val_batches = NUM_STEPS, VAL_INTERVAL, 2
    lr, precision = 0.1, "32"
    atol = rtol = output_tensor_atol = output_tensor_rtol = 0.0
    bug = None

    @classmethod
    def setup_model(cls, mode):
        return Line(cls.lr, cls.bug), PointsModule(), None

    @classmethod
    def setup_class(cls):
        super().setup_class()
        cls.run_stop_and_go()


class TestLine(LineHarness):
    def test_what_was_recorded(self):
        data = {kind: get_callback(self.callbacks, Mode.RESUME, kind).data for kind in self.callbacks[Mode.CONTINUOUS]}
        assert [int(step) for step in data[recording.GlobalStepStateCallback]] == list(range(1, NUM_STEPS + 1))
        assert [int(n) for n in data[recording.ConsumedSamplesCallback]] == list(range(4, 4 * NUM_STEPS + 1, 4))
        assert data[recording.LearningRateCallback][1] == pytest.approx(0.1 / 3)
        assert len(data[recording.ValidInputCallback]) == NUM_STEPS // VAL_INTERVAL * 2
        assert data[recording.TrainInputCallback][0]["x"].shape == (4, 5)
        assert data[recording.TrainOutputCallback][0]["y"].shape == (4, 1)
        assert set(data[recording.OptimizerStateCallback][0][0][0]) == {"step", "exp_avg", "exp_avg_sq"}
        losses = data[recording.TrainLossCallback]
        assert losses[-1] < losses[0]


def failures_of(harness):
    """Run a harness whose resume is wrong; the texts of the tests that notice."""
    harness.setup_class()
    harness.teardown_class()
    texts = {}
    for kind in harness.callbacks[Mode.CONTINUOUS]:
        try:
            harness().test_stop_and_go_consistency(kind)
        except AssertionError as error:
            texts[kind.__name__] = str(error)
    try:
        harness().test_train_val_init_consumed_samples()
    except AssertionError as error:
        texts["init"] = str(error)
    return texts


def test_forgotten_moments_are_noticed_with_their_place():
    texts = failures_of(type("Forgetful", (LineHarness,), {"bug": "forgets its moments"}))
    # The stopped run ended after step 3: records 0 to 2 agree, the fourth step is the first with other moments.
    assert texts["OptimizerStateCallback"].startswith(
        "OptimizerStateCallback, record 3 (interrupted vs continuous): [0][0]['exp_avg']: "
    )
    assert "largest difference" in texts["OptimizerStateCallback"]
    assert "TrainOutputCallback" in texts
    assert not {"TrainInputCallback", "LearningRateCallback", "GlobalStepStateCallback", "init"} & texts.keys()


def test_repeated_data_are_noticed():
    texts = failures_of(type("Repetitive", (LineHarness,), {"bug": "repeats its data"}))
    assert texts["TrainInputCallback"].startswith("TrainInputCallback, record 3 (interrupted vs continuous): ['x']: ")
    assert "begin at the start again" in texts["init"]
    assert "ValidInputCallback" not in texts


def test_a_run_that_saves_nothing_cannot_be_resumed():
    saves_nothing = {"checkpoint_callbacks": classmethod(lambda cls, mode: [])}
    with pytest.raises(AssertionError, match="Amnesic: the stopped run left no checkpoint"):
        type("Amnesic", (LineHarness,), saves_nothing).setup_class()


def test_no_records_are_a_failure():
    harness = type("Silent", (LineHarness,), {})
    harness.callbacks = harness.get_default_callbacks()
    with pytest.raises(AssertionError, match="No data found for TrainLossCallback"):
        harness().test_stop_and_go_consistency(recording.TrainLossCallback)
