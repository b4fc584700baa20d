# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The second objective: its loss, its checkpoint, adapters beside it, and a run that starts from a pretrained one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo.geneformer.api import FineTuneSeqLenBioBertConfig, build_geneformer, geneformer_config, load_geneformer
from bionemo.geneformer.model.finetune_token_regressor import (
    LoRAForGeneFormerTokenRegressor,
    SequenceLengthLayout,
    sequence_length_forward_step,
    sequence_length_loss,
    with_sequence_length_head,
)
from bionemo.geneformer.train import train
from bionemo.geneformer.train_config import TrainGeneformerConfig
from bionemo.llm.checkpoints.hf_directory import load_checkpoint, load_state, read_tensors
from bionemo.llm.data.packing import pack_padded
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.training.metrics_csv import read_metrics


SMALL = {"num_layers": 1, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 48, "vocab_size": 60}


def small_model() -> torch.nn.Module:
    config = with_sequence_length_head(geneformer_config("V1", **SMALL, seq_length=64))
    return build_model(config, config.vocabulary, seed=1).eval()


def batch_of(lengths: tuple[int, ...]) -> dict:
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(2, 2 + length)
    labels = torch.full_like(ids, -100)
    labels[:, :3] = ids[:, :3]
    return pack_padded(ids, ids != 0, labels=labels)


def test_the_loss_is_cross_entropy_plus_the_error_of_the_lengths() -> None:
    model = small_model()
    output = sequence_length_forward_step(model, batch_of((16, 48, 32)))
    assert output["lengths"].tolist() == [0.25, 0.75, 0.5]
    loss_sum, count = sequence_length_loss({}, output)
    cross_entropy = torch.nn.functional.cross_entropy(output["token_logits"], output["row_labels"])
    error = (output["predicted_lengths"] - output["lengths"]).square().mean()
    assert count == 9
    torch.testing.assert_close(loss_sum / count, cross_entropy + error)


def test_adapters_leave_the_head_to_be_trained() -> None:
    trained = {
        name
        for name, p in LoRAForGeneFormerTokenRegressor(rank=2)(small_model()).named_parameters()
        if p.requires_grad
    }
    assert {name for name in trained if "parametrizations" not in name} == {
        f"regression_head.{layer}.{kind}" for layer in ("dense", "output") for kind in ("weight", "bias")
    }
    assert sum("parametrizations" in name for name in trained) == 8


def test_a_run_learns_lengths_and_its_checkpoint_is_a_geneformer_too(cell_files, tmp_path: Path) -> None:
    def config(**changes) -> TrainGeneformerConfig:
        settings = {
            "train_tokens": cell_files.train_tokens, "valid_tokens": cell_files.valid_tokens, "result_dir": tmp_path,
            "num_steps": 40, "val_check_interval": 20, "tokens_per_batch": 256, "seq_length": 64, "lr": 3e-3,
            "accelerator": "cpu", **changes,
        }  # fmt: skip
        return TrainGeneformerConfig(**settings)

    sizes = {name: SMALL[name] for name in SMALL if name != "vocab_size"}
    first = train(config(token_dictionary=cell_files.token_dictionary, experiment_name="first", **sizes))
    second = train(
        config(
            restore_from_checkpoint_path=first / "checkpoints/last",
            training_model_config_class="FineTuneSeqLenBioBertConfig",
            experiment_name="second",
        )
    )
    loaded = load_checkpoint(second / "checkpoints/last", SequenceLengthLayout())
    assert isinstance(loaded.config, FineTuneSeqLenBioBertConfig)
    model = build_model(loaded.config, loaded.config.vocabulary, seed=2).eval()
    load_state(model, loaded.state, second)
    with torch.no_grad():
        output = sequence_length_forward_step(model, batch_of((20, 25, 30)))
    # Short cells of the training data have about 18, long ones about 36 of 64 tokens.
    assert (output["predicted_lengths"] - output["lengths"]).abs().max() < 0.2
    plain = load_geneformer(second / "checkpoints/last")
    assert plain.config.vocab_size == 62
    assert np.isfinite(read_metrics(second / "metrics.csv")["val_loss"][-1])
    assert "regression_head.dense.weight" in read_tensors(second / "checkpoints/last/model.safetensors")


def test_a_pretrained_checkpoint_gets_an_untrained_head() -> None:
    layout = SequenceLengthLayout()
    module = build_geneformer(geneformer_config("V1", **SMALL, seq_length=64), seed=1)
    tensors = super(SequenceLengthLayout, layout).tensors_to_hf(module.model.state_dict(), module.config)
    state = layout.tensors_from_hf(tensors, module.config)
    load_state(small_model(), state, "pretrained")
    with pytest.raises(KeyError):
        layout.tensors_to_hf(module.model.state_dict(), module.config)
