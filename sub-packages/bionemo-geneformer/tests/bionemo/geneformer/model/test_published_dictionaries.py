# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A published Geneformer by name: the model of a subfolder and the pickled dictionaries of its repository."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bionemo.core.errors import CheckpointError, DataError
from bionemo.geneformer import Geneformer
from bionemo.testing.hub_server import HubServer


transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.nemo_env

GENES = [f"ENSG{number:011d}" for number in range(296)]
FAMILIES = {
    "V1": (("<pad>", "<mask>"), 2048, "gene_dictionaries_30m", "gc30M"),
    "V2": (("<pad>", "<mask>", "<cls>", "<eos>"), 4096, "", "gc104M"),
}


def write_repository(root: Path, family: str, *, missing: int = 0) -> Path:
    """Write a repository as the published one is: a model's folder, and dictionaries with NumPy scalars."""
    specials, positions, folder, corpus = FAMILIES[family]
    tokens = {token: np.int16(idx) for idx, token in enumerate((*specials, *GENES[: len(GENES) - missing]))}
    config = transformers.BertConfig(
        vocab_size=len(specials) + len(GENES), hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=positions, hidden_act="relu",
    )  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(root / "Geneformer-X")
    content = {
        "token_dictionary": tokens,
        "gene_median_dictionary": {gene: np.float64(1.5 + idx) for idx, gene in enumerate(GENES)},
        "gene_name_id_dict": {"A1": GENES[1], "B2": GENES[2]},
        "ensembl_mapping_dict": {"ENSG_OLD": GENES[3]},
    }
    dictionaries = root / "geneformer" / folder
    dictionaries.mkdir(parents=True)
    for stem, values in content.items():
        (dictionaries / f"{stem}_{corpus}.pkl").write_bytes(pickle.dumps(values))
    (root / "geneformer/unrelated.pkl").write_bytes(b"not needed")
    return root


@pytest.fixture
def hub(tmp_path: Path, monkeypatch):
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "cache")
        yield server


@pytest.mark.parametrize("family", FAMILIES)
def test_a_name_is_all_that_is_needed(family: str, hub: HubServer, tmp_path: Path) -> None:
    hub.publish("owner/Geneformer", write_repository(tmp_path / "repo", family))
    model = Geneformer.from_pretrained("owner/Geneformer:Geneformer-X", device="cpu")
    assert model.module.config.variant == family
    tokenizer = model.dictionaries.tokenizer
    assert tokenizer.vocab[GENES[0]] == len(FAMILIES[family][0])
    assert model.dictionaries.medians[GENES[2]] == 3.5
    assert tokenizer.gene_to_ens["B2"] == GENES[2]
    assert model.dictionaries.gene_mapping == {"ENSG_OLD": GENES[3]}
    asked = hub.files_asked_for()
    assert len(asked) == 6
    assert "geneformer/unrelated.pkl" not in asked
    with torch.no_grad():
        assert model.module(torch.tensor([[5, 6, 7]])).token_logits.shape[-1] == model.module.config.vocab_size


def test_a_clone_of_the_repository_is_as_good(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "repo", "V2")
    dictionaries = Geneformer.from_pretrained(root / "Geneformer-X", device="cpu").dictionaries
    assert dictionaries.gene_mapping == {"ENSG_OLD": GENES[3]}
    (root / "geneformer/ensembl_mapping_dict_gc104M.pkl").unlink()
    with pytest.raises(CheckpointError, match=r"lacks geneformer/ensembl_mapping_dict_gc104M\.pkl"):
        Geneformer.from_pretrained(root / "Geneformer-X", device="cpu")


def test_dictionaries_of_another_vocabulary_are_refused(tmp_path: Path) -> None:
    root = write_repository(tmp_path / "repo", "V2", missing=3)
    with pytest.raises(CheckpointError, match="number of tokens is 297, the model was trained with 300"):
        Geneformer.from_pretrained(root / "Geneformer-X", device="cpu")
    shutil.rmtree(root / "geneformer")
    with pytest.raises(ValueError, match="holds no vocabulary"):
        Geneformer.from_pretrained(root / "Geneformer-X", device="cpu")


def test_a_dictionary_that_executes_code_is_refused_and_executes_nothing(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    root = write_repository(tmp_path / "repo", "V2")
    (root / "geneformer/token_dictionary_gc104M.pkl").write_bytes(pickle.dumps({"<pad>": Touch()}))
    with pytest.raises((DataError, CheckpointError), match=r"token_dictionary_gc104M\.pkl") as error:
        Geneformer.from_pretrained(root / "Geneformer-X", device="cpu")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()
