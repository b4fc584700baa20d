# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 in NeMo 2 folders, written by torch, Megatron-core and zarr from models of transformers, the oracle."""

import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.esm2.api import load_esm2
from bionemo.esm2.model.convert import app
from bionemo.testing.esm2_oracle import SHAPE, random_esm2
from bionemo.testing.masked_lm_parity import assert_equals_oracle
from bionemo.testing.megatron_on_cpu import megatron_on_cpu
from bionemo.testing.multiprocess import run_on_ranks, warm_pool
from bionemo.testing.nemo2_files import (
    nemo_tensors,
    write_context,
    write_with_megatron,
    write_with_torch,
    write_with_zarr,
)


transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.nemo_env

LAYERS, HEADS = SHAPE["num_hidden_layers"], SHAPE["num_attention_heads"]
SETTINGS = {
    "num_layers": LAYERS, "hidden_size": 32, "num_attention_heads": HEADS, "ffn_hidden_size": 48, "seq_length": 1024,
    "layernorm_epsilon": 1e-5, "hidden_dropout": 0, "attention_dropout": 0.0, "rotary_base": 10000,
    "init_method_std": 0.02, "token_dropout": True, "normalization": "LayerNorm", "qk_layernorm": False,
    "activation_func": ("torch._C._nn", "gelu"), "params_dtype": ("torch", "bfloat16"), "initial_ckpt_path": None,
}  # fmt: skip
ESM2_CONFIG = ("bionemo.esm2.model.model", "ESM2Config")
SEQUENCE = torch.tensor([[0, 20, 15, 32, 5, 19, 4, 32, 11, 23, 2]])


@pytest.fixture
def model():
    return random_esm2()


def tensors_of(model, *, transformer_engine: bool = True, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The model's weights under NeMo's names; the model's own are rounded to the data type too."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype))
    tensors = nemo_tensors(model.state_dict(), LAYERS, HEADS, transformer_engine=transformer_engine)
    return {name: tensor.detach().to(dtype) for name, tensor in tensors.items()}


def assert_same_outputs(path: Path, model) -> None:
    with torch.no_grad():
        oracle = model(input_ids=SEQUENCE, attention_mask=torch.ones_like(SEQUENCE), output_hidden_states=True)
        ours = load_esm2(path)(SEQUENCE, output_hidden_states=True)
    assert_equals_oracle(ours.token_logits[0], [state[0] for state in ours.hidden_states], oracle)


def written(folder: Path, model, **changes) -> Path:
    write_with_torch(folder, tensors_of(model))
    write_context(folder, ESM2_CONFIG, {**SETTINGS, **changes})
    return folder


@pytest.mark.parametrize(
    ("backend", "transformer_engine", "dtype"),
    [
        ("torch", True, torch.float32),
        ("torch", False, torch.bfloat16),
        ("zarr", True, torch.bfloat16),
        ("zarr", False, torch.float32),
        ("zarr", True, torch.float16),
    ],
)
def test_logits_are_those_of_transformers(
    backend: str, transformer_engine: bool, dtype: torch.dtype, model, tmp_path: Path, caplog
) -> None:
    tensors = tensors_of(model, transformer_engine=transformer_engine, dtype=dtype)
    if backend == "zarr":
        pytest.importorskip("zarr")
        write_with_zarr(tmp_path, tensors, num_ranks=2)
    else:
        write_with_torch(tmp_path, tensors)
    write_context(tmp_path, ESM2_CONFIG, SETTINGS)
    assert_same_outputs(tmp_path, model)
    assert "hold no contact head" in caplog.text


def test_an_archive_its_weights_folder_and_an_older_layout_open(model, tmp_path: Path) -> None:
    written(tmp_path / "esm2_nemo2", model)
    with tarfile.open(tmp_path / "esm2.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "esm2_nemo2", "esm2_nemo2")
    with tarfile.open(tmp_path / "flat.tar", "w") as archive:
        archive.add(tmp_path / "esm2_nemo2", ".")
    shutil.copytree(tmp_path / "esm2_nemo2/weights", tmp_path / "old")
    shutil.copy(tmp_path / "esm2_nemo2/context/io.json", tmp_path / "old")
    for name in ("esm2.tar.gz", "flat.tar", "esm2_nemo2/weights", "old"):
        assert_same_outputs(tmp_path / name, model)


def test_out_to_hugging_face_bit_for_bit(model, tmp_path: Path, capsys) -> None:
    written(tmp_path / "nemo2", model)
    assert app(["convert-nemo-to-hf", str(tmp_path / "nemo2"), str(tmp_path / "hf")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'hf'}\n"
    found = transformers.EsmForMaskedLM.from_pretrained(tmp_path / "hf").state_dict()
    for name, parameter in model.named_parameters():
        if "contact_head" not in name and "position_embeddings" not in name:
            assert torch.equal(found[name], parameter), name


def test_there_and_back_is_bit_equal_and_opens_in_megatron(model, tmp_path: Path, caplog) -> None:
    """A folder that we write from a model of transformers, read by us and by Megatron-core."""
    model.save_pretrained(tmp_path / "hf")
    assert app(["convert-hf-to-nemo", str(tmp_path / "hf"), str(tmp_path / "nemo2")]) == 0
    assert "not converted: its contact head" in caplog.text
    assert_same_outputs(tmp_path / "nemo2", model)
    assert app(["convert-nemo-to-hf", str(tmp_path / "nemo2"), str(tmp_path / "again")]) == 0
    found = transformers.EsmForMaskedLM.from_pretrained(tmp_path / "again").state_dict()
    for name, parameter in model.named_parameters():
        if "contact_head" not in name and "position_embeddings" not in name:
            assert torch.equal(found[name], parameter), name
    pytest.importorskip("megatron.core")
    (plain,) = run_on_ranks(1, load_plain_tensors, tmp_path / "nemo2/weights", timeout_s=200)
    expected = tensors_of(model)
    assert plain.keys() == {f"module.{name}" for name in expected}
    for name, tensor in expected.items():
        rows = slice(None, 33) if name in ("embedding.word_embeddings.weight", "output_layer.bias") else slice(None)
        assert torch.equal(plain[f"module.{name}"][rows], tensor[rows]), name


def load_plain_tensors(weights: Path) -> dict[str, Tensor]:
    from megatron.core import dist_checkpointing

    with megatron_on_cpu():
        return dist_checkpointing.load_plain_tensors(str(weights))


def write_on_rank(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    write_with_megatron(folder, tensors, LAYERS)


def test_files_that_two_ranks_of_megatron_wrote(model, tmp_path: Path) -> None:
    """Layers and tensor-parallel shares are parts of their own, Transformer Engine's extra state lies between."""
    pytest.importorskip("megatron.core")
    warm_pool("megatron.core.dist_checkpointing")
    run_on_ranks(2, write_on_rank, tmp_path, tensors_of(model), timeout_s=200)
    files = {path.name for path in (tmp_path / "weights").glob("__*.distcp")}
    assert {name.split("_")[2] for name in files} == {"0", "1"}
    write_context(tmp_path, ESM2_CONFIG, SETTINGS)
    assert_same_outputs(tmp_path, model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 4}, "expected 4 layers"),
        ({"num_layers": 10**7}, "expected 10000000 layers"),
        ({"num_layers": "3"}, "num_layers '3', expected a whole number"),
        ({"num_attention_heads": 5}, "not divisible"),
        ({"ffn_hidden_size": 64}, "has shape .* the model's configuration asks for"),
        ({"hidden_size": None}, "describes no model with num_layers, hidden_size"),
        ({"qk_layernorm": True}, "says qk_layernorm True, only False is supported"),
        ({"normalization": "RMSNorm"}, "says normalization 'RMSNorm', only 'LayerNorm' is supported"),
        ({"token_dropout": 1.5}, "token_dropout 1.5, expected true or false"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(changes: dict, message: str, model, tmp_path: Path) -> None:
    written(tmp_path, model, **changes)
    with pytest.raises(CheckpointError, match=message) as error:
        load_esm2(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_damage_and_missing_parts_are_named(model, tmp_path: Path) -> None:
    def refused(change, match: str) -> None:
        folder = shutil.copytree(tmp_path / "whole", tmp_path / "damaged")
        change(folder)
        with pytest.raises(CheckpointError, match=match) as error:
            load_esm2(folder)
        assert "\n" not in str(error.value)
        assert str(folder) in str(error.value)
        shutil.rmtree(folder)

    def flip(folder: Path) -> None:
        path = next((folder / "weights").glob("*.distcp"))
        content = bytearray(path.read_bytes())
        place = content.index(model.state_dict()["lm_head.dense.weight"].numpy().tobytes()[:64])
        content[place] ^= 1
        path.write_bytes(content)

    def cut(folder: Path) -> None:
        for path in (folder / "weights").glob("*.distcp"):
            path.write_bytes(path.read_bytes()[:700])

    written(tmp_path / "whole", model)
    refused(flip, "has another checksum: damaged")
    refused(cut, "is no archive of torch.save")
    refused(lambda folder: [file.unlink() for file in folder.glob("weights/*.distcp")], "copied whole")
    refused(lambda folder: (folder / "weights/.metadata").unlink(), "cannot be read")
    refused(lambda folder: shutil.rmtree(folder / "context"), "lacks context/io.json")
    backend = '{"sharded_backend": "other"}'
    refused(lambda folder: (folder / "weights/metadata.json").write_text(backend), "sharded_backend 'other'")
    (tmp_path / "not.tar.gz").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="cannot be unpacked"):
        load_esm2(tmp_path / "not.tar.gz")


def test_a_member_outside_of_the_archive_is_not_written(model, tmp_path: Path) -> None:
    written(tmp_path / "nemo2", model)
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "nemo2", "nemo2")
        archive.add(tmp_path / "nemo2/context/io.json", "../../../escaped")
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match="outside the target directory"):
        load_esm2(tmp_path / "evil.tar.gz")
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_another_kind_of_model_is_named(model, tmp_path: Path) -> None:
    tensors = tensors_of(model)
    write_with_torch(tmp_path, {**tensors, "embedding.position_embeddings.weight": torch.zeros(8, 32)})
    write_context(tmp_path, ("bionemo.geneformer.model.config", "GeneformerConfig"), SETTINGS)
    with pytest.raises(CheckpointError, match="a GeneformerConfig with learned positions, which is no ESM-2"):
        load_esm2(tmp_path)
    write_with_torch(tmp_path / "more", {**tensors, "adapter.weight": torch.zeros(2)})
    write_context(tmp_path / "more", ESM2_CONFIG, SETTINGS)
    with pytest.raises(CheckpointError, match=r"hold 1 tensors that ESM-2 lacks, first adapter\.weight"):
        load_esm2(tmp_path / "more")


def test_context_has_the_form_that_nemo_writes(model, tmp_path: Path) -> None:
    """Both contexts, the tests' and the converter's, against NeMo's own serialization of the same values."""
    mixin = pytest.importorskip("nemo.lightning.io.mixin", reason="NeMo is not installed")
    from bionemo.esm2.model.nemo_form import ESM2NemoForm
    from bionemo.llm.checkpoints.nemo2.context import read_context
    from bionemo.llm.checkpoints.nemo2.folder import NemoFolder

    dump_with_nemo(tmp_path / "theirs/context/io.json", mixin.IOMixin)
    write_context(tmp_path / "ours", ESM2_CONFIG, SETTINGS)
    theirs, ours = (
        read_context(NemoFolder(tmp_path / side), ESM2NemoForm.dictionary_names) for side in ("theirs", "ours")
    )
    assert theirs.settings.values == ours.settings.values
    assert theirs.model_class == "TheirConfig"
    written(tmp_path / "in", model)
    assert app(["convert-hf-to-nemo", str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    serialization = pytest.importorskip("fiddle._src.experimental.serialization")
    opened = serialization.load_json((tmp_path / "out/context/io.json").read_text())
    assert opened.model.config.num_layers == LAYERS
    assert opened.model.config.activation_func is torch.nn.functional.gelu


def dump_with_nemo(path: Path, base: type) -> None:
    from dataclasses import make_dataclass

    from fiddle._src.experimental import serialization

    values = {**SETTINGS, "activation_func": torch.nn.functional.gelu, "params_dtype": torch.bfloat16}
    fields = [(name, object) for name in values]
    config_class = make_dataclass("TheirConfig", fields, bases=(base,))
    globals()["TheirConfig"], config_class.__module__ = config_class, __name__
    globals()["TheirModule"] = type("TheirModule", (base,), {"__init__": _takes_config, "__module__": __name__})
    path.parent.mkdir(parents=True)
    path.write_text(serialization.dump_json(globals()["TheirModule"](config_class(**values)).__io__))


def _takes_config(self, config) -> None:
    pass
