# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo's Geneformer in NeMo 2 folders against MegatronBertForMaskedLM, and the dictionaries that come with it."""

import json
import tarfile
from pathlib import Path

import pytest
import torch

from bionemo.core.errors import BionemoError, CheckpointError
from bionemo.geneformer.api import load_geneformer
from bionemo.geneformer.geneformer import Geneformer
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.testing.masked_lm_parity import assert_equals_oracle
from bionemo.testing.nemo2_files import nemo_tensors, write_context, write_with_torch, write_with_zarr


transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.nemo_env

LAYERS, HEADS, GENES = 2, 4, 35
SHAPE = {
    "vocab_size": GENES + 5, "hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "intermediate_size": 48, "max_position_embeddings": 64, "initializer_range": 0.1, "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "pad_token_id": 2,
}  # fmt: skip
SETTINGS = {
    "num_layers": LAYERS, "hidden_size": 32, "num_attention_heads": HEADS, "ffn_hidden_size": 48, "seq_length": 64,
    "layernorm_epsilon": 1e-12, "hidden_dropout": 0.02, "attention_dropout": 0.1, "qk_layernorm": False,
    "activation_func": ("torch._C._nn", "gelu"),
}  # fmt: skip
GENEFORMER_CONFIG = ("bionemo.geneformer.api", "GeneformerConfig")
CELL = torch.tensor([[0, 7, 39, 1, 12, 20, 1, 5]])
MEDIANS = {f"ENSG{number:011d}": 1.0 + number for number in range(GENES)}
SYMBOLS = {"TP53": "ENSG00000000003", "it's": "ENSG00000000004"}
TOKENIZER = GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, SYMBOLS)
DICTIONARIES = {"vocab": TOKENIZER.vocab, "gene_to_ens": SYMBOLS, "median_dict": MEDIANS}


@pytest.fixture
def model():
    """Without token types, which NeMo's model does not have."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = transformers.MegatronBertForMaskedLM(transformers.MegatronBertConfig(**SHAPE)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
            model.bert.embeddings.token_type_embeddings.weight.zero_()
    return model


def tensors_of(model, *, transformer_engine: bool = True) -> dict[str, torch.Tensor]:
    return nemo_tensors(model.state_dict(), LAYERS, HEADS, transformer_engine=transformer_engine)


def assert_same_outputs(path: Path, model) -> None:
    with torch.no_grad():
        oracle = model(input_ids=CELL, attention_mask=torch.ones_like(CELL), output_hidden_states=True)
        ours = load_geneformer(path)(CELL, output_hidden_states=True)
    assert_equals_oracle(ours.token_logits[0], [state[0] for state in ours.hidden_states], oracle)


def test_logits_and_dictionaries_of_a_folder_and_its_archive(model, tmp_path: Path) -> None:
    write_with_torch(tmp_path / "model", tensors_of(model))
    write_context(tmp_path / "model", GENEFORMER_CONFIG, SETTINGS, DICTIONARIES)
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "model", "model")
    for path in (tmp_path / "model", tmp_path / "model.tar.gz"):
        assert_same_outputs(path, model)
        geneformer = Geneformer.from_pretrained(path, device="cpu")
        assert geneformer.dictionaries.tokenizer.vocab == TOKENIZER.vocab
        assert geneformer.dictionaries.tokenizer.gene_to_ens == SYMBOLS
        assert geneformer.dictionaries.medians == MEDIANS
        assert geneformer.module.config.vocabulary_fingerprint == TOKENIZER.fingerprint


@pytest.mark.parametrize("place", [".", "context"])
def test_dictionaries_beside_the_weights_win(place: str, model, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    write_with_zarr(tmp_path, tensors_of(model, transformer_engine=False))
    write_context(tmp_path, GENEFORMER_CONFIG, SETTINGS, {"vocab": {"[CLS]": 0}})
    TOKENIZER.save_vocab(tmp_path / place / "geneformer.vocab")
    (tmp_path / place / "medians.json").write_text(json.dumps(MEDIANS))
    assert_same_outputs(tmp_path, model)
    dictionaries = load_geneformer(tmp_path).dictionaries
    assert dictionaries is not None
    assert dictionaries[1:] == (MEDIANS, {})


@pytest.mark.parametrize(
    ("changes", "dictionaries", "message"),
    [
        ({}, {}, "holds no vocabulary, and its 128 rows are not those of the published models"),
        ({}, {"vocab": {"[CLS]": 0}}, "special tokens"),
        ({}, {"vocab": {**TOKENIZER.vocab, "[CLS]": "0"}}, "arguments are no vocabulary"),
        ({}, {"vocab": TOKENIZER.vocab, "median_dict": {"ENSG00000000001": -1}}, "median -1, expected a number"),
        ({"seq_length": 65}, DICTIONARIES, "position_embeddings.weight has shape"),
        ({"activation_func": ("x", "silu")}, DICTIONARIES, "activation_func silu"),
    ],
)
def test_what_does_not_fit_is_one_line(changes: dict, dictionaries: dict, message: str, model, tmp_path: Path) -> None:
    write_with_torch(tmp_path, tensors_of(model))
    write_context(tmp_path, GENEFORMER_CONFIG, {**SETTINGS, **changes}, dictionaries)
    with pytest.raises(BionemoError, match=message) as error:
        load_geneformer(tmp_path)
    assert "\n" not in str(error.value)


def test_an_esm2_is_named(model, tmp_path: Path) -> None:
    tensors = tensors_of(model)
    del tensors["embedding.position_embeddings.weight"]
    write_with_torch(tmp_path, tensors)
    write_context(tmp_path, ("bionemo.esm2.api", "ESM2Config"), SETTINGS, DICTIONARIES)
    with pytest.raises(CheckpointError, match="a ESM2Config without learned positions"):
        load_geneformer(tmp_path)
