# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Geneformer files as transformers writes BERT: every class, sharding and dtype; transformers is the oracle."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bionemo.core.errors import CheckpointError
from bionemo.geneformer.api import load_geneformer
from bionemo.testing.masked_lm_parity import assert_equals_oracle


transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.nemo_env

SHAPE = {
    "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 64, "hidden_act": "relu", "initializer_range": 0.1, "pad_token_id": 0,
}  # fmt: skip
CELL = torch.tensor([[7, 250, 1, 30, 4, 19, 1, 88]])


def fresh(cls: str = "BertForMaskedLM"):
    """Build a model of transformers whose biases and norms are random too: zeros would hide a mistake."""
    config = transformers.MegatronBertConfig if cls.startswith("Megatron") else transformers.BertConfig
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = getattr(transformers, cls)(config(**SHAPE)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def assert_same_outputs(module, model) -> None:
    with torch.no_grad():
        oracle = model(input_ids=CELL, attention_mask=torch.ones_like(CELL), output_hidden_states=True)
        ours = module.model.forward_padded(CELL, torch.ones_like(CELL), output_hidden_states=True)
    states = [state[0] for state in ours.hidden_states]
    if ours.token_logits is None:
        last = oracle.hidden_states[-1]
        assert (states[-1] - last[0]).abs().max().item() <= 1e-5 * max(1.0, last.abs().max().item())
    else:
        assert_equals_oracle(ours.token_logits[0], states, oracle)


def old_names(directory: Path) -> None:
    """Rename LayerNorm's parameters as BERT's first checkpoints had them."""
    path = directory / "model.safetensors"
    endings = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = {}
    for name, tensor in load_file(path).items():
        ending = ".".join(name.split(".")[-2:])
        tensors[name.removesuffix(ending) + endings.get(ending, ending)] = tensor
    save_file(tensors, path, {"format": "pt"})


@pytest.mark.parametrize("form", ["one file", "shards", "pickle", "old names", "float16"])
def test_a_fresh_masked_language_model_opens_in_every_file_form(form: str, tmp_path: Path) -> None:
    model = fresh()
    if form == "float16":
        model = model.half()
    if form == "pickle":
        model.config.save_pretrained(tmp_path)
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    else:
        model.save_pretrained(tmp_path, **({"max_shard_size": "20KB"} if form == "shards" else {}))
    if form == "old names":
        old_names(tmp_path)
    assert_same_outputs(load_geneformer(tmp_path), model.float())


@pytest.mark.parametrize(
    "cls",
    ["BertModel", "BertForSequenceClassification", "BertForTokenClassification", "MegatronBertModel"],
)
def test_the_encoder_of_another_class_opens_and_is_said_so(cls: str, tmp_path: Path, caplog) -> None:
    model = fresh(cls)
    model.save_pretrained(tmp_path)
    module = load_geneformer(tmp_path)
    assert "hold no masked-token head" in caplog.text
    assert module.model.forward_padded(CELL).token_logits is None
    assert_same_outputs(module, model)


def test_the_next_sentence_head_of_pretraining_is_left_out(tmp_path: Path) -> None:
    model = fresh("BertForPreTraining")
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(input_ids=CELL).prediction_logits
        found = load_geneformer(tmp_path)(CELL).token_logits
    assert (found - expected).abs().max().item() <= 1e-5 * max(1.0, expected.abs().max().item())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 2.0}, "num_hidden_layers 2.0, expected a whole number"),
        ({"max_position_embeddings": None}, "lacks 'max_position_embeddings'"),
        ({"hidden_act": ["relu"]}, r"hidden_act \['relu'\], expected a text"),
        ({"geneformer_variant": "V9"}, "Geneformer family V9"),
        ({"type_vocab_size": -1}, "type_vocab_size -1, expected a whole number"),
        ({"vocabulary_fingerprint": 3}, "vocabulary_fingerprint 3, expected a text"),
    ],
)
def test_a_hostile_config_is_one_line(changes: dict, message: str, tmp_path: Path) -> None:
    fresh().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(CheckpointError, match=message) as error:
        load_geneformer(tmp_path)
    assert "\n" not in str(error.value)
