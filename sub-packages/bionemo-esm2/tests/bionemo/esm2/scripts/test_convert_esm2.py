# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``convert_esm2``: what it writes opens in transformers and fair-esm, bit for bit the source's."""

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bionemo.core._config_parser import build_parser
from bionemo.esm2.convert_config import ConvertESM2Config
from bionemo.esm2.scripts.convert_esm2 import main
from bionemo.esm2.scripts.train_esm2 import main as train
from bionemo.testing.data.fasta import write_fasta
from bionemo.testing.esm2_oracle import random_esm2
from bionemo.testing.proteins import make_proteins


transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.nemo_env

FLAGS = "--to --tensor-model-parallel-size --pipeline-model-parallel-size "
FLAGS += "--dtype --overwrite --no-overwrite --config --debug --version --help -h"
SHAPE = {"num_hidden_layers": 2, "intermediate_size": 128}
SEQUENCE = torch.tensor([[0, 20, 15, 32, 5, 19, 4, 32, 11, 23, 2]])


def written(folder: Path, cls: str = "EsmForMaskedLM", **changes):
    """Write a random model of transformers, and return it."""
    model = random_esm2(cls, **{**SHAPE, **changes})
    model.save_pretrained(folder)
    return model


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def parameters_equal(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    theirs = dict(expected.named_parameters())
    for name, parameter in found.named_parameters():
        assert torch.equal(parameter, theirs[name]), name


def test_flags_are_the_golden_list() -> None:
    parser = build_parser(ConvertESM2Config)
    assert {flag for action in parser._actions for flag in action.option_strings} == set(FLAGS.split())


CHAINS = {
    "shards": [("megatron", "--tensor-model-parallel-size", 2, "--pipeline-model-parallel-size", 2), ("hf",)],
    "NeMo 2": [("nemo2",), ("hf",)],
    "NeMo 2 and shards": [("nemo2",), ("megatron", "--tensor-model-parallel-size", 4), ("nemo2",), ("hf",)],
    "shards and fair-esm": [("megatron", "--pipeline-model-parallel-size", 2), ("fair-esm",), ("hf",)],
    "fair-esm and NeMo 2": [("fair-esm",), ("nemo2",), ("fair-esm",), ("hf",)],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_there_and_back_through_other_forms_is_bit_equal(chain: str, tmp_path: Path, caplog) -> None:
    """What NeMo 2 does not hold, the contact head, is lost and said."""
    model = written(tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "direct") == 0
    source = tmp_path / "in"
    for step, (form, *flags) in enumerate(CHAINS[chain]):
        out = tmp_path / (f"esm2_{step}.pt" if form == "fair-esm" else f"step-{step}")
        assert run(source, out, "--to", form, *flags) == 0
        source = out
    found, expected = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "direct"))
    contact = {name for name in expected if "contact_head" in name}
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor) or ("NeMo" in chain and name in contact), name
    assert ("not converted: its contact head" in caplog.text) == ("NeMo" in chain)
    assert transformers.EsmForMaskedLM.from_pretrained(source).config.intermediate_size == 4 * model.config.hidden_size


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_shards_start_a_run_on_one_device(strategy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two tensor-parallel ranks pad the vocabulary to 256 rows, one device to 128."""
    written(tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "shards", "--to", "megatron", "--tensor-model-parallel-size", 2) == 0
    write_fasta(tmp_path / "p.fasta", make_proteins(20, min_length=20, max_length=30))
    flags = [
        f"--train-fasta={tmp_path / 'p.fasta'}", f"--restore-from-checkpoint-path={tmp_path / 'shards'}",
        f"--result-dir={tmp_path}", "--max-steps=1", "--tokens-per-batch=64", "--max-seq-length=32", "--lr=1e-12",
        "--limit-val-batches=0", "--num-dataset-workers=0", "--accelerator=cpu", f"--strategy={strategy}",
    ]  # fmt: skip
    assert train([*flags, "--experiment-name=run"]) == 0
    trained = transformers.EsmForMaskedLM.from_pretrained(tmp_path / "run/checkpoints/last")
    theirs = transformers.EsmForMaskedLM.from_pretrained(tmp_path / "in").state_dict()
    for name, parameter in trained.named_parameters():
        torch.testing.assert_close(parameter.detach(), theirs[name], rtol=0, atol=1e-11)  # one step of 1e-12
    damaged = next((tmp_path / "shards/shards").glob("*.safetensors"))
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert train([*flags, "--experiment-name=damaged"]) == 2
    assert "was written: damaged" in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_model_that_cannot_be_split_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "in")
    for flags, message in (
        (("--tensor-model-parallel-size", 3), "does not divide the 4 attention heads"),
        (("--pipeline-model-parallel-size", 4), "does not divide the 2 layers"),
        (("--tensor-model-parallel-size", 0), "must be at least 1"),
    ):
        assert run(tmp_path / "in", tmp_path / "out", "--to", "megatron", *flags) == 2
        assert message in capsys.readouterr().err.strip().splitlines()[-1]
        assert not (tmp_path / "out").exists()


def test_there_and_back_through_fair_esm_is_bit_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    esm = pytest.importorskip("esm", reason="fair-esm is not installed")
    model = written(tmp_path / "in")
    file = tmp_path / "esm2_tiny.pt"
    assert run(tmp_path / "in", file, "--to", "fair-esm") == 0
    assert capsys.readouterr().out == f"{file}\n"
    with torch.serialization.safe_globals([argparse.Namespace]):
        opened, _ = esm.pretrained.load_model_and_alphabet_local(file)
    with torch.no_grad():
        expected = model(SEQUENCE).logits
        found = opened.eval()(SEQUENCE)["logits"]
    assert (found - expected).abs().max().item() <= 1e-5 * max(1.0, expected.abs().max().item())
    assert run(file, tmp_path / "out") == 0
    parameters_equal(transformers.EsmForMaskedLM.from_pretrained(tmp_path / "out"), model)
    assert torch.equal(
        load_file(tmp_path / "out/model.safetensors")["esm.contact_head.regression.weight"],
        model.esm.contact_head.regression.weight,
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rounds_weights_alone_and_says_so(dtype: str, tmp_path: Path, caplog) -> None:
    model = written(tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "out", "--dtype", dtype) == 0
    assert f"--dtype {dtype}: " in caplog.text
    tensors = load_file(tmp_path / "out/model.safetensors")
    query = "esm.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(tensors[query], model.state_dict()[query].to(getattr(torch, dtype)))
    frequencies = [tensor for name, tensor in tensors.items() if name.endswith("inv_freq")]
    assert len(frequencies) == SHAPE["num_hidden_layers"]
    assert {tensor.dtype for tensor in frequencies} == {torch.float32}
    caplog.clear()
    assert run(tmp_path / "out", tmp_path / "again", "--dtype", dtype) == 0
    assert "rounded" not in caplog.text
    assert all(
        torch.equal(tensor, tensors[name]) for name, tensor in load_file(tmp_path / "again/model.safetensors").items()
    )


def test_a_classifier_becomes_a_base_model_and_is_said_so(tmp_path: Path, caplog) -> None:
    model = written(tmp_path / "in", "EsmForSequenceClassification")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert "not converted: what EsmForSequenceClassification has beside its encoder" in caplog.text
    parameters_equal(transformers.EsmModel.from_pretrained(tmp_path / "out", add_pooling_layer=False), model.esm)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, ["out"], "overwrite"),
        ({}, ["esm2_there.pt", "--to", "fair-esm"], "exists already"),
        ({}, ["model.pt", "--to", "fair-esm"], "Call the file esm2_NAME.pt"),
        ({"layer_norm_eps": 1e-12}, ["esm2_a.pt", "--to", "fair-esm"], "LayerNorm with epsilon 1e-05"),
        ({"intermediate_size": 48}, ["esm2_a.pt", "--to", "fair-esm"], "fair-esm has no ESM-2"),
        ({"initializer_range": 1e6}, ["half", "--dtype", "float16"], "beyond the range of float16"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    changes: dict, arguments: list[str], message: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "in", **changes)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/kept").write_text("")
    (tmp_path / "esm2_there.pt").write_text("")
    before = sorted(tmp_path.rglob("*"))
    assert run("in", *arguments) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before
