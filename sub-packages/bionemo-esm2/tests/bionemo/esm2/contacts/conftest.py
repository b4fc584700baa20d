# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny ESM-2 models with a contact head that transformers wrote, freshly built and loaded."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch


SHAPE = {
    "vocab_size": 33, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "pad_token_id": 1, "mask_token_id": 32, "position_embedding_type": "rotary", "token_dropout": True,
    "emb_layer_norm_before": False, "layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3,
}  # fmt: skip
LETTERS = "LAGVSERTIDPKQNFYMHWC"


class Oracle(NamedTuple):
    """A model of transformers and the folder where it was saved."""

    model: Any
    checkpoint: Path

    def contacts(self, sequence: str) -> np.ndarray:
        """[S, S] probabilities."""
        tokens = torch.tensor([tokens_of(sequence)])
        with torch.no_grad():
            found: np.ndarray = self.model.predict_contacts(tokens, torch.ones_like(tokens))[0].numpy()
        return found

    def logits(self, sequence: str) -> np.ndarray:
        """[S, 20] of the standard residues."""
        with torch.no_grad():
            found: np.ndarray = self.model(torch.tensor([tokens_of(sequence)])).logits[0, 1:-1, 4:24].numpy()
        return found


def tokens_of(sequence: str) -> list[int]:
    return [0, *(4 + LETTERS.index(letter) for letter in sequence), 2]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """A freshly built model: recent releases write other parameter names for it than for a loaded one."""
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = transformers.EsmForMaskedLM(transformers.EsmConfig(**SHAPE, attn_implementation="eager")).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim == 1 or "contact_head" in name:  # zeros would hide a mistake
                    parameter.add_(torch.randn(parameter.shape) * (3.0 if "contact_head" in name else 0.1))
    folder = tmp_path_factory.mktemp("esm2")
    model.save_pretrained(folder)
    return Oracle(model, folder)


@pytest.fixture(scope="session")
def oracle(built: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """The same model after transformers loaded it, saved again."""
    transformers = pytest.importorskip("transformers")
    model = transformers.EsmForMaskedLM.from_pretrained(built.checkpoint, attn_implementation="eager").eval()
    folder = tmp_path_factory.mktemp("esm2")
    model.save_pretrained(folder)
    return Oracle(model, folder)


@pytest.fixture(params=["built", "oracle"])
def either_oracle(request: pytest.FixtureRequest) -> Oracle:
    """Both of them."""
    found: Oracle = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def protein() -> str:
    rng = np.random.default_rng(3)
    return "".join(rng.choice(list(LETTERS), 30))
