# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 files as releases of transformers write them: every class, spelling, sharding and dtype.

transformers is the oracle.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bionemo.core.errors import CheckpointError
from bionemo.esm2.api import load_esm2, save_esm2
from bionemo.testing.esm2_oracle import SHAPE, random_esm2
from bionemo.testing.masked_lm_parity import assert_equals_oracle


transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.nemo_env

SEQUENCE = torch.tensor([[0, 20, 15, 32, 5, 19, 4, 32, 11, 23, 2]])


def original_layout(model, directory: Path) -> Path:
    """Write a model as the published files have it: ``.weight`` and ``.bias``, one ``inv_freq`` a layer."""
    model.config.save_pretrained(directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "architectures": [type(model).__name__]}))
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items() if "lm_head.decoder" not in name}
    frequencies = next(tensor for name, tensor in model.named_buffers() if name.endswith("inv_freq"))
    tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("inv_freq")}
    for layer in range(SHAPE["num_hidden_layers"]):
        name = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        tensors[name] = frequencies.half().float()
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    return directory


def assert_same_outputs(module, model) -> None:
    with torch.no_grad():
        oracle = model(input_ids=SEQUENCE, attention_mask=torch.ones_like(SEQUENCE), output_hidden_states=True)
        ours = module(SEQUENCE, output_hidden_states=True)
    states = [state[0] for state in ours.hidden_states]
    if ours.token_logits is None:
        difference = (states[-1] - oracle.hidden_states[-1][0]).abs().max().item()
        assert difference <= 1e-5 * max(1.0, oracle.hidden_states[-1].abs().max().item())
    else:
        assert_equals_oracle(ours.token_logits[0], states, oracle)


def pickled(model, directory: Path) -> None:
    model.config.save_pretrained(directory)
    torch.save(model.state_dict(), directory / "pytorch_model.bin")


def pickled_shards(model, directory: Path) -> None:
    pickled(model, directory)
    state = torch.load(directory / "pytorch_model.bin", weights_only=True)
    (directory / "pytorch_model.bin").unlink()
    weight_map = {name: f"pytorch_model-{idx % 3 + 1:05d}-of-00003.bin" for idx, name in enumerate(state)}
    for shard in set(weight_map.values()):
        torch.save({name: value for name, value in state.items() if weight_map[name] == shard}, directory / shard)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))


WRITERS: dict[str, Callable] = {
    "one file": lambda model, directory: model.save_pretrained(directory),
    "shards": lambda model, directory: model.save_pretrained(directory, max_shard_size="20KB"),
    "pickle": pickled,
    "pickled shards": pickled_shards,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_fresh_model_opens_in_every_file_form(writer: str, tmp_path: Path) -> None:
    model = random_esm2()
    WRITERS[writer](model, tmp_path)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (writer == "shards")
    module = load_esm2(tmp_path)
    assert_same_outputs(module, model)
    contact = module.model.contact_head.regression
    assert torch.equal(contact.weight, model.esm.contact_head.regression.weight)
    assert torch.equal(contact.bias, model.esm.contact_head.regression.bias)


def test_a_loaded_model_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    """Published files keep their names through transformers: those never pass through a fresh model's folder."""
    original = original_layout(random_esm2(), tmp_path / "original")
    loaded = transformers.EsmForMaskedLM.from_pretrained(original).eval()
    loaded.save_pretrained(tmp_path / "again")
    for directory in (original, tmp_path / "again"):
        module = load_esm2(directory)
        assert_same_outputs(module, loaded)
    save_esm2(module, tmp_path / "ours")
    written, ours = load_file(original / "model.safetensors"), load_file(tmp_path / "ours/model.safetensors")
    used = {name for name in written if "position_embeddings" not in name and "position_ids" not in name}
    assert used == ours.keys()
    assert all(torch.equal(ours[name], written[name]) for name in used)


@pytest.mark.parametrize("cls", ["EsmModel", "EsmForSequenceClassification", "EsmForTokenClassification"])
def test_the_encoder_of_another_class_opens_and_is_said_so(cls: str, tmp_path: Path, caplog) -> None:
    model = random_esm2(cls)
    model.save_pretrained(tmp_path)
    with caplog.at_level(logging.INFO):
        module = load_esm2(tmp_path)
    assert f"{tmp_path}: {cls} in Hugging Face layout" in caplog.text
    assert "hold no masked-token head" in caplog.text
    assert module(SEQUENCE).token_logits is None
    assert_same_outputs(module, model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_are_computed_with_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    random_esm2().to(dtype).save_pretrained(tmp_path)
    reference = transformers.EsmForMaskedLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    module = load_esm2(tmp_path)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert_same_outputs(module, reference)


def test_a_file_without_contact_head_opens_and_is_said_so(tmp_path: Path, caplog) -> None:
    original_layout(random_esm2(), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "contact_head" not in name}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    module = load_esm2(tmp_path)
    assert "hold no contact head" in caplog.text
    assert not module.model.contact_head.regression.weight.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 2.0}, "num_hidden_layers 2.0, expected a whole number from 1"),
        ({"num_hidden_layers": True}, "num_hidden_layers True, expected a whole number"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers 1000000.*expected a whole number"),
        ({"num_hidden_layers": 10**7}, "contact_head.regression.weight has shape"),
        ({"hidden_size": [32]}, r"hidden_size \[32\], expected a whole number"),
        ({"hidden_size": 64}, "has shape .*config.json asks for"),
        ({"layer_norm_eps": "1e-5"}, "layer_norm_eps '1e-5', expected a finite number"),
        ({"layer_norm_eps": None}, "lacks 'layer_norm_eps'"),
        ({"token_dropout": 1}, "token_dropout 1, expected true or false"),
        ({"rope_theta": float("nan")}, "rope_theta nan, expected a finite number"),
        ({"num_attention_heads": 5}, "hidden_size 32 is not divisible"),
        ({"model_type": "bert"}, "model_type 'bert', expected 'esm'"),
        ({"is_folding_model": True}, "this is an ESMFold checkpoint"),
    ],
)
def test_a_hostile_config_is_one_line(changes: dict, message: str, tmp_path: Path) -> None:
    original_layout(random_esm2(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(CheckpointError, match=message) as error:
        load_esm2(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("values", "base"),
    [
        ({"rope_parameters": None}, 10_000.0),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}}, 5000.0),
        ({"rope_theta": 5000.0}, 5000.0),
    ],
)
def test_the_rotary_base_is_read_from_either_place(values: dict, base: float, tmp_path: Path) -> None:
    original_layout(random_esm2(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config.pop("rope_theta", None)
    (tmp_path / "config.json").write_text(json.dumps({**config, "rope_parameters": None, **values}))
    assert load_esm2(tmp_path).config.rotary_base == base


def test_a_masked_language_model_without_its_head_is_refused(tmp_path: Path) -> None:
    original_layout(random_esm2(), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("lm_head.")}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="says EsmForMaskedLM, the weights lack its masked-token head"):
        load_esm2(tmp_path)
