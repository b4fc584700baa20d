# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Configs that take settings and weights from a checkpoint, and metrics by name."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.core.model.config import BionemoTrainableModelConfig
from bionemo.llm.checkpoints.hf_directory import save_checkpoint
from bionemo.llm.model.config import (
    OVERRIDE_BIOBERT_CONFIG_DEFAULTS,
    OVERRIDE_BIONEMO_CONFIG_DEFAULTS,
    MegatronBioNeMoModelConfig,
    MegatronBioNeMoTrainableModelConfig,
    TorchmetricsConfig,
    merge_settings,
    override_mutate_possibly_extra_mutated_fiddle,
)
from bionemo.llm.model.loss import BERTMLMLossWithReduction


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(MegatronBioNeMoTrainableModelConfig):
    """A one-layer family with a file layout of its own."""

    hidden_size: int = 4
    activation: str = "gelu"

    def hf_layout(self):
        return EncoderLayout()

    def configure_model(self, head: str = "lm_head") -> nn.Module:
        return nn.ModuleDict({"encoder": nn.Linear(self.hidden_size, self.hidden_size), head: nn.Linear(1, 1)})


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig(EncoderConfig):
    """The same encoder with a head that the checkpoint does not know."""

    num_classes: int = 3


class EncoderLayout:
    """Names in the file are those of the model with a prefix."""

    def tensors_to_hf(self, state, config):
        return {f"model.{name}": tensor for name, tensor in state.items()}

    def tensors_from_hf(self, tensors, config):
        return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}

    def config_to_hf(self, config):
        return {"model_type": "one-layer", "hidden_size": config.hidden_size, "hidden_act": config.activation}

    def config_from_hf(self, values, source):
        if values.get("model_type") != "one-layer":
            raise CheckpointError(f"{source}: another kind of model.")
        return EncoderConfig(hidden_size=values["hidden_size"], activation=values["hidden_act"])

    def save_tokenizer(self, directory):
        pass


@pytest.fixture
def checkpoint(tmp_path):
    """Hidden size 6 and relu, with random weights."""
    config = EncoderConfig(hidden_size=6, activation="relu")
    torch.manual_seed(1)
    model = config.configure_model()
    save_checkpoint(tmp_path / "ckpt", config, model.state_dict(), EncoderLayout())
    return tmp_path / "ckpt", model


def test_architecture_comes_from_the_checkpoint_the_rest_from_the_user(checkpoint):
    path, _ = checkpoint
    metric = TorchmetricsConfig("Accuracy", "classification", "val_acc")
    own = FineTuneConfig(
        initial_ckpt_path=str(path),
        num_classes=7,
        valid_metric=metric,
        initial_ckpt_skip_keys_with_these_prefixes=("a",),
    )
    loaded = own.load_settings_from_checkpoint(path)
    assert loaded == replace(own, hidden_size=6, activation="relu")
    assert own.hidden_size == 4


def test_fields_to_keep_can_be_named(checkpoint):
    keep = (*OVERRIDE_BIONEMO_CONFIG_DEFAULTS, "activation")
    loaded = EncoderConfig(override_parent_fields=keep).load_settings_from_checkpoint(checkpoint[0])
    assert (loaded.hidden_size, loaded.activation) == (6, "gelu")
    assert loaded.override_parent_fields == keep


def test_weights_come_from_the_checkpoint_but_not_the_head(checkpoint):
    path, trained = checkpoint
    own = FineTuneConfig(initial_ckpt_skip_keys_with_these_prefixes=("lm_head", "class_head"))
    config = own.load_settings_from_checkpoint(path)
    model = config.configure_model("class_head")
    head = model["class_head"].weight.clone()
    config.update_model_from_checkpoint(model, path)
    assert torch.equal(model["encoder"].weight, trained["encoder"].weight)
    assert torch.equal(model["class_head"].weight, head)


def test_weights_of_another_head_are_refused_unless_skipped(checkpoint):
    config = FineTuneConfig(hidden_size=6)
    with pytest.raises(CheckpointError, match=r"lacks 2 parameters of the model, first class_head\.bias"):
        config.update_model_from_checkpoint(config.configure_model("class_head"), checkpoint[0])


def test_checkpoint_of_another_kind_and_no_checkpoint(checkpoint, tmp_path):
    (checkpoint[0] / "config.json").write_text('{"model_type": "other"}')
    with pytest.raises(CheckpointError, match="another kind of model"):
        EncoderConfig().load_settings_from_checkpoint(checkpoint[0])
    with pytest.raises(CheckpointError, match="no such file"):
        EncoderConfig().load_settings_from_checkpoint(tmp_path / "none")


def test_a_config_without_a_layout_says_so(tmp_path):
    class Unreadable(MegatronBioNeMoModelConfig):
        def configure_model(self):
            return nn.Identity()

    with pytest.raises(ConfigError, match="Unreadable: cannot read checkpoints"):
        Unreadable().load_settings_from_checkpoint(tmp_path)


def test_merge_takes_only_common_fields_and_checks_the_result():
    @dataclass(frozen=True)
    class Own:
        heads: int = 2
        width: int = 8
        name: str = "own"

        def __post_init__(self):
            if self.width % self.heads:
                raise ConfigError(f"width {self.width} does not divide by heads {self.heads}.")

    @dataclass(frozen=True)
    class Stored:
        width: int = 10
        name: str = "stored"
        depth: int = 5

    assert merge_settings(Own(), Stored(), keep=["name"]) == Own(heads=2, width=10, name="own")
    with pytest.raises(ConfigError, match="width 9 does not divide"):
        merge_settings(Own(), Stored(width=9), keep=[])


def test_bert_keeps_the_output_switches_too():
    assert set(OVERRIDE_BIONEMO_CONFIG_DEFAULTS) < set(OVERRIDE_BIOBERT_CONFIG_DEFAULTS)
    assert {"skip_logits", "include_hiddens", "params_dtype"} <= set(OVERRIDE_BIOBERT_CONFIG_DEFAULTS)


def test_is_a_model_config_of_core():
    assert isinstance(EncoderConfig(), BionemoTrainableModelConfig)
    with pytest.raises(TypeError, match=r"abstract method '?configure_model"):
        MegatronBioNeMoTrainableModelConfig()


def test_default_loss():
    assert EncoderConfig().get_loss_reduction_class() is BERTMLMLossWithReduction


class TestOverrideMutate:
    def test_changes_a_mutable_target(self):
        @dataclass
        class Target:
            a: int = 1
            b: int = 2

        target = Target()
        result = override_mutate_possibly_extra_mutated_fiddle(target, EncoderConfig(), ["a", "hidden_size"])
        assert result is target
        assert target == Target(1, 2)
        override_mutate_possibly_extra_mutated_fiddle(target, Target(5, 6), ["b"])
        assert target == Target(1, 6)

    def test_copies_a_frozen_target(self):
        target = EncoderConfig()
        result = override_mutate_possibly_extra_mutated_fiddle(target, EncoderConfig(hidden_size=9), ["hidden_size"])
        assert (target.hidden_size, result.hidden_size) == (4, 9)


class TestTorchmetricsConfig:
    def test_builds_the_metric_with_its_arguments(self):
        config = TorchmetricsConfig("text.Perplexity", "pretraining", "val_ppl", {"ignore_index": -100})
        metric = config.get_instance()
        metric.update(torch.zeros(1, 3, 33), torch.tensor([[4, 5, -100]]))
        # Uniform over 33 tokens, in float32.
        assert metric.compute().item() == pytest.approx(33.0, rel=1e-5)

    def test_top_level_metrics(self):
        metric = TorchmetricsConfig("MeanSquaredError", "regression", "val_mse").get_instance()
        assert metric(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0])).item() == 2.0

    @pytest.mark.parametrize("class_path", ["text.Perplexitty", "nothing.Here", "text", "functional.accuracy"])
    def test_what_is_no_metric_is_named(self, class_path):
        with pytest.raises(ConfigError, match=rf"class_path '{class_path}': torchmetrics has no such metric"):
            TorchmetricsConfig(class_path, "pretraining", "x").get_instance()

    def test_unknown_task(self):
        with pytest.raises(ConfigError, match="task 'lm': not one of pretraining, classification, regression"):
            TorchmetricsConfig("text.Perplexity", "lm", "val_ppl")
