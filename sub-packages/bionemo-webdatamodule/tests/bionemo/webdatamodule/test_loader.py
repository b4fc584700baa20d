# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Epochs, continuing, and what a Trainer makes of both."""

import random

import lightning as L
import pytest
import torch
import webdataset as wds

from bionemo.core.errors import CheckpointError
from bionemo.webdatamodule.datamodule import Split, WebDataModule


NUM_SAMPLES = 23
BATCH = 3
NUM_BATCHES = 8


def build(folder, *, workers=0, shuffle=None, invoke_wld=None, **kwargs_wld):
    return WebDataModule(
        "tensor.pyd",
        dict.fromkeys(Split, folder),
        pipeline_wds={Split.train: shuffle or wds.shuffle(5)},
        pipeline_prebatch_wld=dict.fromkeys(Split, wds.batched(BATCH)),
        kwargs_wds={Split.train: {"seed": 11}},
        kwargs_wld={split: {"num_workers": workers, "batch_size": None, **kwargs_wld} for split in Split},
        invoke_wld=invoke_wld,
    )


def epoch_of(loader):
    return [batch[0].flatten().tolist() for batch in loader]


def flat(batches):
    return [i for batch in batches for i in batch]


@pytest.fixture
def folder(make_tars):
    return make_tars(NUM_SAMPLES, 4)


@pytest.mark.parametrize(
    ("workers", "kwargs"), [(0, {}), (2, {}), (2, {"persistent_workers": True})], ids=["0", "2", "2-persistent"]
)
def test_epochs_differ_and_two_instances_agree(folder, workers, kwargs):
    runs = []
    for _ in range(2):
        module = build(folder, workers=workers, **kwargs)
        module.setup("fit")
        loader = module.train_dataloader()
        runs.append([epoch_of(loader) for _ in range(3)])
    assert runs[0] == runs[1]
    assert all(sorted(flat(epoch)) == list(range(NUM_SAMPLES)) for epoch in runs[0])
    assert len({tuple(flat(epoch)) for epoch in runs[0]}) == 3
    assert epoch_of(module.val_dataloader()) == epoch_of(module.val_dataloader())


SHUFFLES = {
    "unseeded": lambda: wds.shuffle(6),
    "generator": lambda: wds.shuffle(6, rng=random.Random(5)),
    "seed": lambda: wds.shuffle(6, seed=5),
    "detshuffle": lambda: wds.detshuffle(6, seed=5),
}


@pytest.mark.parametrize("shuffle", SHUFFLES.values(), ids=SHUFFLES)
@pytest.mark.parametrize("stop", [0, 1, 5, NUM_BATCHES])
def test_continues_with_the_rest_of_the_epoch(folder, shuffle, stop):
    whole = build(folder, shuffle=shuffle())
    whole.setup("fit")
    loader = whole.train_dataloader()
    epochs = [epoch_of(loader) for _ in range(3)]

    first = build(folder, shuffle=shuffle())
    first.setup("fit")
    loader = first.train_dataloader()
    assert epoch_of(loader) == epochs[0]
    running = iter(loader)
    taken = [next(running)[0].flatten().tolist() for _ in range(stop)]
    assert taken == epochs[1][:stop]
    state = first.state_dict()
    assert state == {"epoch": 1, "batches": stop, "world_size": 1, "num_workers": 0, "num_samples": NUM_SAMPLES}

    second = build(folder, shuffle=shuffle())
    second.setup("fit")
    second.load_state_dict(state)
    assert second.state_dict() == state
    loader = second.train_dataloader()
    assert epoch_of(loader) == epochs[1][stop:]
    assert epoch_of(loader) == epochs[2]


def test_state_after_an_epoch_is_the_start_of_the_next(folder):
    module = build(folder)
    module.setup("fit")
    assert module.state_dict() == {"epoch": 0, "batches": 0}
    list(module.train_dataloader())
    assert (module.state_dict()["epoch"], module.state_dict()["batches"]) == (1, 0)


def test_abandoned_iteration_does_not_count(folder):
    module = build(folder)
    module.setup("fit")
    loader = module.train_dataloader()
    old, new = iter(loader), iter(loader)
    next(new)
    list(old)
    assert (module.state_dict()["epoch"], module.state_dict()["batches"]) == (1, 1)


def test_refuses_to_continue_under_other_conditions(folder):
    module = build(folder, workers=2)
    module.setup("fit")
    state = {"epoch": 4, "batches": 2, "world_size": 1, "num_workers": 0, "num_samples": NUM_SAMPLES}
    module.load_state_dict(state)
    with pytest.raises(CheckpointError, match="2 batches into epoch 4 with num_workers=0, now num_workers=2"):
        iter(module.train_dataloader())
    module.load_state_dict(state | {"batches": 0})
    assert sorted(flat(epoch_of(module.train_dataloader()))) == list(range(NUM_SAMPLES))


def test_with_epoch_repeats_with_new_orders(folder):
    module = build(folder, invoke_wld={Split.train: [("with_epoch", {"nbatches": 2 * NUM_BATCHES})]})
    module.setup("fit")
    batches = epoch_of(module.train_dataloader())
    assert len(batches) == 2 * NUM_BATCHES
    assert sorted(flat(batches)) == sorted(2 * list(range(NUM_SAMPLES)))
    assert batches[:NUM_BATCHES] != batches[NUM_BATCHES:]


class Recorder(L.LightningModule):
    """Notes the samples it sees; its one weight depends on their order."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[str, list[list[int]]] = {"train": [], "val": [], "test": [], "predict": []}

    def note(self, kind, batch):
        self.seen[kind].append(batch[0].flatten().tolist())

    def training_step(self, batch, batch_idx):
        self.note("train", batch)
        return (self.weight - batch[0].float().mean()).square().sum()

    def validation_step(self, batch, batch_idx):
        if not self.trainer.sanity_checking:
            self.note("val", batch)

    def test_step(self, batch, batch_idx):
        self.note("test", batch)

    def predict_step(self, batch, batch_idx):
        self.note("predict", batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def make_trainer(tmp_path, **kwargs):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return L.Trainer(default_root_dir=tmp_path, devices=1, **{"enable_checkpointing": False} | quiet | kwargs)


def test_trainer_sees_the_order_of_a_bare_loop(folder, tmp_path):
    bare = build(folder)
    bare.setup("fit")
    loader = bare.train_dataloader()
    train = flat([epoch_of(loader) for _ in range(3)])
    val = epoch_of(bare.val_dataloader())

    module, model = build(folder), Recorder()
    trainer = make_trainer(tmp_path, max_epochs=3)
    trainer.fit(model, module)
    assert model.seen["train"] == train
    assert model.seen["val"] == 3 * val
    model.seen["val"] = []
    trainer.validate(model, module)
    trainer.test(model, module)
    trainer.predict(model, module, return_predictions=False)
    assert model.seen["val"] == model.seen["test"] == model.seen["predict"] == val


class SaveAt(L.Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


class SaveAtEpochEnd(L.Callback):
    def __init__(self, epoch, path):
        self.epoch, self.path = epoch, path

    def on_train_epoch_end(self, trainer, *_):
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("step", [1, 4, NUM_BATCHES, NUM_BATCHES + 3, 2 * NUM_BATCHES])
@pytest.mark.parametrize("limit", [NUM_BATCHES, 5])
def test_trainer_continues_exactly(folder, tmp_path, step, limit):
    if limit < NUM_BATCHES and L.__version__.startswith("2.4."):
        pytest.skip(
            "Lightning 2.4 does not count the batch that a checkpoint is saved behind, so its limit is off by one"
        )
    whole, saved = Recorder(), tmp_path / "saved.ckpt"
    limits = {"max_epochs": 4, "limit_val_batches": 0, "limit_train_batches": limit}
    trainer = make_trainer(tmp_path, callbacks=[SaveAt(step, saved)], **limits)
    trainer.fit(whole, build(folder))
    assert len(whole.seen["train"]) == 4 * limit
    assert len({tuple(batch) for batch in whole.seen["train"]}) > 3 * limit  # every epoch has its own order

    rest = Recorder()
    trainer = make_trainer(tmp_path, **limits)
    trainer.fit(rest, build(folder), ckpt_path=saved)
    assert rest.seen["train"] == whole.seen["train"][step:]
    assert torch.equal(rest.weight, whole.weight)


def test_trainer_continues_from_the_end_of_an_epoch(folder, tmp_path):
    whole, saved = Recorder(), tmp_path / "saved.ckpt"
    trainer = make_trainer(tmp_path, max_epochs=3, callbacks=[SaveAtEpochEnd(1, saved)])
    trainer.fit(whole, build(folder))
    rest = Recorder()
    make_trainer(tmp_path, max_epochs=3).fit(rest, build(folder), ckpt_path=saved)
    assert rest.seen["train"] == whole.seen["train"][2 * NUM_BATCHES :]
