# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json

import lightning.pytorch as pl
import pytest
import torch

from bionemo.core.errors import CheckpointError
from bionemo.example_model import lightning_basic
from bionemo.example_model.lightning_basic import (
    BionemoLightningModule,
    ClassifierLossReduction,
    ExampleFineTuneBothConfig,
    ExampleFineTuneConfig,
    MNISTDataModule,
    MSELossReduction,
    MSEPlusClassifierLossReduction,
    PretrainConfig,
    freeze_parent,
)
from bionemo.llm.training.trainer import build_trainer
from bionemo.testing.import_check import import_check
from bionemo.testing.multiprocess import run_on_ranks, warm_pool


def fit(config, steps=6, batch_size=16, devices=1, precision="32-true", **settings):
    torch.manual_seed(0)
    module = BionemoLightningModule(config, lr=3e-3, **settings)
    data = MNISTDataModule("/nowhere", batch_size=batch_size)
    trainer = build_trainer(
        accelerator="cpu",
        precision=precision,
        devices=devices,
        num_nodes=1,
        max_steps=steps,
        val_check_interval=steps,
        limit_val_batches=2,
        accumulate_grad_batches=1,
        gradient_clip=0.0,
        callbacks=[],
        loggers=[],
    )
    trainer.fit(module, data)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return module, metrics


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A checkpoint of a briefly trained auto-encoder of a size of its own."""
    module, metrics = fit(PretrainConfig(hidden_size=32), steps=30)
    path = tmp_path_factory.mktemp("pretrained") / "checkpoint"
    module.save(path)
    return module.module.state_dict(), metrics, str(path)


def test_networks_give_what_their_types_say():
    images = torch.rand(2, 1, 28, 28)
    output = PretrainConfig().configure_model()(images)
    assert (output["x_hat"].shape, output["z"].shape) == ((2, 784), (2, 3))
    output = ExampleFineTuneBothConfig().configure_model()(images)
    assert (output["x_hat"].shape, output["digit_logits"].shape) == ((2, 784), (2, 10))
    assert ExampleFineTuneConfig().configure_model()(images).shape == (2, 10)
    names = PretrainConfig().configure_model().state_dict().keys()
    assert names == {f"linear{number}.{kind}" for number in (1, 2, 3, 4) for kind in ("weight", "bias")}


def test_losses():
    batch = {"data": torch.rand(4, 1, 28, 28), "label": torch.tensor([1, 0, 9, 3])}
    logits = torch.zeros(4, 10)
    loss, logged = ClassifierLossReduction().forward(batch, logits)
    assert loss == pytest.approx(2.302585, abs=1e-5)  # ln 10
    assert logged["avg"] == loss
    x_hat = batch["data"].flatten(1) + 0.5
    assert MSELossReduction().forward(batch, {"x_hat": x_hat})[0] == pytest.approx(0.25)
    both = MSEPlusClassifierLossReduction().forward(batch, {"x_hat": x_hat, "digit_logits": logits})[0]
    assert both == pytest.approx(2.552585, abs=1e-5)
    assert MSELossReduction().reduce([{"avg": torch.tensor(1.0)}, {"avg": torch.tensor(2.0)}]) == 1.5


def test_data_module_splits_and_orders():
    data = MNISTDataModule("/nowhere", batch_size=50)
    data.setup()
    assert (len(data.mnist_train), len(data.mnist_val), len(data.mnist_test)) == (55_000_000, 5_000, 10_000)
    first, again = next(iter(data.train_dataloader())), next(iter(data.train_dataloader()))
    assert first["data"].shape == (50, 1, 28, 28)
    assert torch.equal(first["idx"], again["idx"])
    validation = {data.mnist_val[index]["idx"] for index in range(0, 5000, 50)}
    assert not validation & {data.mnist_train[index]["idx"] for index in range(2000)}
    assert next(iter(data.predict_dataloader()))["idx"].tolist() == list(range(50))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_loss_falls(precision):
    start = fit(PretrainConfig(), steps=1, precision=precision)[1]["val_loss"]
    assert fit(PretrainConfig(), steps=60, precision=precision)[1]["val_loss"] < 0.75 * start


def test_two_ranks_train_as_one_does():
    """Half the digits each, so the same digits per step: the same weights, but for the order of sums."""
    warm_pool("bionemo.llm.lightning")
    alone, metrics = _weights_and_metrics(1, 16)
    for weights, rank_metrics in run_on_ranks(2, _weights_and_metrics, 2, 8, process_group=False):
        for name, weight in alone.items():
            torch.testing.assert_close(weights[name], weight, atol=1e-5, rtol=0)
        assert rank_metrics["val_loss"] == pytest.approx(metrics["val_loss"], rel=1e-5)


def _weights_and_metrics(devices, batch_size):
    module, metrics = fit(PretrainConfig(), devices=devices, batch_size=batch_size)
    return module.module.state_dict(), metrics


def test_a_checkpoint_gives_size_and_weights(pretrained):
    weights, metrics, path = pretrained
    model = PretrainConfig(initial_ckpt_path=path).configure_model()
    assert model.linear1.weight.shape == (32, 784)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    _, continued = fit(PretrainConfig(initial_ckpt_path=path), steps=1)
    assert continued["val_loss"] < metrics["val_loss"] * 1.05
    with open(f"{path}/config.json") as file:  # noqa: PTH123 the fixture's path is a string
        expected = {"model_type": "bionemo_example", "architectures": ["ExampleModel"], "hidden_size": 32}
        assert json.load(file) == expected


def test_fine_tuning_keeps_the_decoder_or_drops_it(pretrained, caplog):
    weights, _, path = pretrained
    head = {"initial_ckpt_path": path, "initial_ckpt_skip_keys_with_these_prefixes": ("digit_classifier",)}
    both = ExampleFineTuneBothConfig(**head).configure_model()
    assert torch.equal(both.linear4.weight, weights["linear4.weight"])
    with caplog.at_level("INFO"):
        trunk = ExampleFineTuneConfig(**head).configure_model()
    assert torch.equal(trunk.linear2.weight, weights["linear2.weight"])
    assert "no use for linear3.bias, linear3.weight, linear4.bias, linear4.weight" in caplog.text
    with pytest.raises(CheckpointError, match=r"digit_classifier\.bias"):
        ExampleFineTuneConfig(initial_ckpt_path=path).configure_model()
    fresh = PretrainConfig(initial_ckpt_path=path, initial_ckpt_path_ignore_weights=True).configure_model()
    assert not torch.equal(fresh.linear1.weight, weights["linear1.weight"])


def test_a_frozen_parent_stays_bit_equal(pretrained):
    weights, _, path = pretrained
    config = ExampleFineTuneConfig(
        initial_ckpt_path=path, initial_ckpt_skip_keys_with_these_prefixes=("digit_classifier",)
    )
    module, _ = fit(config, steps=5, model_transform=freeze_parent)
    for name in ("linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"):
        assert torch.equal(module.module.state_dict()[name], weights[name]), name
    start = fit(config, steps=1, model_transform=freeze_parent)[0].module.digit_classifier.weight
    assert not torch.equal(module.module.digit_classifier.weight, start)
    moved, _ = fit(config, steps=5)
    assert not torch.equal(moved.module.linear1.weight, weights["linear1.weight"])


def test_a_foreign_checkpoint_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "esm"}')
    with pytest.raises(CheckpointError, match="model_type esm, expected bionemo_example"):
        PretrainConfig(initial_ckpt_path=str(tmp_path)).configure_model()


def test_established_names():
    from bionemo.example_model.lightning import lightning_basic as later_place

    assert later_place.ExampleModel is lightning_basic.ExampleModel
    assert lightning_basic.LitAutoEncoder is BionemoLightningModule
    assert lightning_basic.MNISTCustom is lightning_basic.MNISTCustomDataset
    assert lightning_basic.ExampleConfig is PretrainConfig
    assert lightning_basic.ExampleFineTuneDropParentConfig is ExampleFineTuneConfig
    assert isinstance(lightning_basic.data_module, MNISTDataModule)
    assert lightning_basic.data_module is lightning_basic.data_module
    assert isinstance(lightning_basic.checkpoint_callback, pl.callbacks.ModelCheckpoint)
    module = BionemoLightningModule(ExampleFineTuneConfig())
    assert isinstance(module.training_loss_reduction(), ClassifierLossReduction)
    assert module.loss_reduction_class() is ClassifierLossReduction
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lightning_basic.nothing


def test_imports_are_light():
    import_check(["bionemo.example_model", "bionemo.example_model.scripts.example_model"], tier=0)
    import_check(["bionemo.example_model.digits"], tier=1)
