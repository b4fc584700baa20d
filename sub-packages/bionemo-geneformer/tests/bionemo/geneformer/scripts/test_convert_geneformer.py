# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``convert_geneformer``: what it writes opens in transformers with the source's values."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bionemo.core._config_parser import build_parser
from bionemo.geneformer.api import build_geneformer, geneformer_config, load_geneformer, save_geneformer
from bionemo.geneformer.convert_config import ConvertGeneformerConfig
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.scripts.convert_geneformer import main
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import BIONEMO, V1


transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.nemo_env

FLAGS = "--to --tensor-model-parallel-size --pipeline-model-parallel-size "
FLAGS += "--dtype --overwrite --no-overwrite --config --debug --version --help -h"
SHAPE = {
    "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 64, "initializer_range": 0.1, "pad_token_id": 0, "hidden_act": "relu",
}  # fmt: skip


def test_flags_are_the_golden_list() -> None:
    parser = build_parser(ConvertGeneformerConfig)
    assert {flag for action in parser._actions for flag in action.option_strings} == set(FLAGS.split())


@pytest.mark.parametrize("cls", ["BertForMaskedLM", "BertForTokenClassification", "BertModel"])
def test_every_parameter_of_encoder_and_token_head_is_bit_equal(cls: str, tmp_path: Path, caplog) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = getattr(transformers, cls)(transformers.BertConfig(**SHAPE)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    model.save_pretrained(tmp_path / "in")
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    expected = "BertForMaskedLM" if cls == "BertForMaskedLM" else "BertModel"
    opened = getattr(transformers, expected).from_pretrained(
        tmp_path / "out", **({} if expected == cls == "BertForMaskedLM" else {"add_pooling_layer": False})
    )
    base = model if expected == "BertForMaskedLM" or cls == "BertModel" else model.bert
    theirs = base.state_dict()
    for name, parameter in opened.state_dict().items():
        assert torch.equal(parameter, theirs[name]), name
    assert opened.config.architectures == [expected]
    assert "has no dictionaries beside it" in caplog.text
    assert (f"what {cls} has beside" in caplog.text) == (cls != "BertForMaskedLM")


@pytest.mark.parametrize("forms", [["megatron"], ["nemo2"], ["nemo2", "megatron", "nemo2"]])
def test_there_and_back_is_bit_equal_with_dictionaries(forms: list[str], tmp_path: Path) -> None:
    medians = {f"ENSG{number:011d}": 1.0 + number for number in range(35)}
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(medians, {"A1": "ENSG00000000001"}, variant=BIONEMO)
    size = {"num_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 64, "seq_length": 64}
    module = build_geneformer(geneformer_config("BIONEMO", **size, vocab_size=tokenizer.vocab_size), seed=1)
    module.dictionaries = Dictionaries(tokenizer, medians, {"Gm1": "ENSG00000000001"})
    save_geneformer(module, tmp_path / "in")
    source = tmp_path / "in"
    for step, form in enumerate([*forms, "hf"]):
        sizes = ["--tensor-model-parallel-size", "2", "--pipeline-model-parallel-size", "2"]
        out = tmp_path / f"step-{step}"
        assert main([str(source), str(out), "--to", form, *(sizes if form == "megatron" else [])]) == 0
        source = out
    found, expected = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "in"))
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    dictionaries = load_geneformer(source).dictionaries
    assert dictionaries is not None
    assert dictionaries.tokenizer.vocab == tokenizer.vocab
    assert dictionaries[1:] == (medians, {"Gm1": "ENSG00000000001"})


def test_v1_has_no_form_in_nemo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transformers.BertForMaskedLM(transformers.BertConfig(**SHAPE)).save_pretrained(tmp_path / "in")
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "--to", "nemo2"]) == 2
    assert "a Geneformer V1: NeMo 2 has those of BioNeMo alone" in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_half_precision_is_written_rounded(tmp_path: Path, caplog) -> None:
    model = transformers.BertForMaskedLM(transformers.BertConfig(**SHAPE))
    model.save_pretrained(tmp_path / "in")
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "--dtype", "bfloat16"]) == 0
    name = "bert.encoder.layer.1.attention.self.key.weight"
    assert torch.equal(load_file(tmp_path / "out/model.safetensors")[name], model.state_dict()[name].bfloat16())
    assert "--dtype bfloat16: " in caplog.text


def test_dictionaries_travel_along(tmp_path: Path, caplog) -> None:
    medians = {f"ENSG{number:011d}": 1.0 + number for number in range(38)}
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(medians, {"A1": "ENSG00000000001"}, variant=V1)
    size = {"num_layers": 1, "hidden_size": 32, "num_attention_heads": 4, "ffn_hidden_size": 64, "seq_length": 64}
    module = build_geneformer(geneformer_config("V1", **size, vocab_size=tokenizer.vocab_size))
    module.dictionaries = Dictionaries(tokenizer, medians, {"Gm1": "ENSG00000000001"})
    save_geneformer(module, tmp_path / "in")
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    assert "has no dictionaries" not in caplog.text
    found = load_geneformer(tmp_path / "out").dictionaries
    assert found is not None
    assert found.tokenizer.vocab == tokenizer.vocab
    assert found[1:] == (medians, {"Gm1": "ENSG00000000001"})
