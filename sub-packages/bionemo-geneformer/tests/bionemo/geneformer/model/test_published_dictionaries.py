# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A published Geneformer by name: the model of a subfolder and the pickled dictionaries of its repository."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from bionemo.core.errors import CheckpointError, DataError
from bionemo.geneformer import Geneformer
from bionemo.geneformer.api import save_geneformer
from bionemo.testing.hub_server import HubServer


pytest.importorskip("transformers")
pytestmark = pytest.mark.nemo_env

GENES = [f"ENSG{number:011d}" for number in range(296)]
FAMILIES = {"V1": 2, "V2": 4}
"""Number of special tokens."""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_name_is_all_that_is_needed(
    family: str, hub: HubServer, write_geneformer_repository, tmp_path: Path
) -> None:
    hub.publish("owner/Geneformer", write_geneformer_repository(tmp_path / "repo", family))
    model = Geneformer.from_pretrained("owner/Geneformer:Geneformer-X", device="cpu")
    assert model.module.config.variant == family
    tokenizer = model.dictionaries.tokenizer
    assert tokenizer.vocab[GENES[0]] == FAMILIES[family]
    assert model.dictionaries.medians[GENES[2]] == 3.5
    assert tokenizer.gene_to_ens["B2"] == GENES[2]
    assert model.dictionaries.gene_mapping == {"ENSG_OLD": GENES[3]}
    asked = hub.files_asked_for()
    assert len(asked) == 6
    assert "geneformer/unrelated.pkl" not in asked
    with torch.no_grad():
        assert model.module(torch.tensor([[5, 6, 7]])).token_logits.shape[-1] == model.module.config.vocab_size


def test_a_clone_of_the_repository_is_as_good(write_geneformer_repository, tmp_path: Path) -> None:
    root = write_geneformer_repository(tmp_path / "repo", "V2")
    dictionaries = Geneformer.from_pretrained(root / "Geneformer-X", device="cpu").dictionaries
    assert dictionaries.gene_mapping == {"ENSG_OLD": GENES[3]}
    (root / "geneformer/ensembl_mapping_dict_gc104M.pkl").unlink()
    with pytest.raises(CheckpointError, match=r"lacks geneformer/ensembl_mapping_dict_gc104M\.pkl"):
        Geneformer.from_pretrained(root / "Geneformer-X", device="cpu")


def test_dictionaries_of_another_vocabulary_are_refused(write_geneformer_repository, tmp_path: Path) -> None:
    root = write_geneformer_repository(tmp_path / "repo", "V2", missing=3)
    with pytest.raises(CheckpointError, match="number of tokens is 297, the model was trained with 300"):
        Geneformer.from_pretrained(root / "Geneformer-X", device="cpu")
    shutil.rmtree(root / "geneformer")
    with pytest.raises(ValueError, match="holds no vocabulary"):
        Geneformer.from_pretrained(root / "Geneformer-X", device="cpu")


def test_a_dictionary_that_executes_code_is_refused_and_executes_nothing(
    write_geneformer_repository, tmp_path: Path
) -> None:
    class Touch:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    root = write_geneformer_repository(tmp_path / "repo", "V2")
    (root / "geneformer/token_dictionary_gc104M.pkl").write_bytes(pickle.dumps({"<pad>": Touch()}))
    with pytest.raises((DataError, CheckpointError), match=r"token_dictionary_gc104M\.pkl") as error:
        Geneformer.from_pretrained(root / "Geneformer-X", device="cpu")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()


def test_a_model_of_ours_on_the_hub_brings_its_dictionaries(
    hub: HubServer, write_geneformer_repository, tmp_path: Path
) -> None:
    published = Geneformer.from_pretrained(
        write_geneformer_repository(tmp_path / "repo", "V2") / "Geneformer-X", device="cpu"
    )
    published.module.dictionaries = published.dictionaries
    save_geneformer(published.module, tmp_path / "ours/model")
    hub.publish("me/mine", tmp_path / "ours")
    model = Geneformer.from_pretrained("me/mine:model", device="cpu")
    assert model.dictionaries.medians == published.dictionaries.medians
    assert model.dictionaries.gene_mapping == {"ENSG_OLD": GENES[3]}
    assert model.dictionaries.tokenizer.vocab == published.dictionaries.tokenizer.vocab
