# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny ESM-2 models that transformers wrote, freshly built and loaded, and their answers one sequence at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch


SHAPE = {
    "vocab_size": 33, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48,
    "pad_token_id": 1, "mask_token_id": 32, "position_embedding_type": "rotary", "token_dropout": True,
    "emb_layer_norm_before": False, "layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3,
}  # fmt: skip
LETTERS = "LAGVSERTIDPKQNFYMHWCXBUZO"
MASK = 32


class Oracle(NamedTuple):
    """A model of transformers in float64, and the folder where it was saved in float32."""

    model: Any
    checkpoint: Path

    def log_probabilities(self, tokens: Sequence[int]) -> np.ndarray:
        """[T, 33] of one sequence, alone and unpadded."""
        with torch.no_grad():
            found: np.ndarray = self.model(torch.tensor([list(tokens)])).logits[0].log_softmax(-1).numpy()
        return found

    def masked(self, sequence: str, *places: int) -> np.ndarray:
        """[K, 33] at residues that are masked together."""
        tokens = tokens_of(sequence)
        for place in places:
            tokens[place + 1] = MASK
        return self.log_probabilities(tokens)[[place + 1 for place in places]]

    def marginal(self, sequence: str, place: int, new: str) -> float:
        """Masked marginal of one substitution."""
        row = self.masked(sequence, place)[0]
        return float(row[token(new)] - row[token(sequence[place])])

    def log_likelihood(self, sequence: str) -> float:
        """Mean over the residues of log p(residue | all others)."""
        return float(
            np.mean([self.masked(sequence, place)[0, token(letter)] for place, letter in enumerate(sequence)])
        )


def token(letter: str) -> int:
    return 4 + LETTERS.index(letter)


def tokens_of(sequence: str) -> list[int]:
    return [0, *map(token, sequence), 2]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """A freshly built model: recent releases write other parameter names for it than for a loaded one."""
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = transformers.EsmForMaskedLM(transformers.EsmConfig(**SHAPE, attn_implementation="eager")).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:  # zeros would hide a mistake
                    parameter.add_(0.1 * torch.randn(parameter.shape))
    folder = tmp_path_factory.mktemp("esm2")
    model.save_pretrained(folder)
    return Oracle(model.double(), folder)


@pytest.fixture(scope="session")
def oracle(built: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """The same model after transformers loaded it, saved again."""
    transformers = pytest.importorskip("transformers")
    model = transformers.EsmForMaskedLM.from_pretrained(built.checkpoint, attn_implementation="eager").eval()
    folder = tmp_path_factory.mktemp("esm2")
    model.save_pretrained(folder)
    return Oracle(model.double(), folder)


@pytest.fixture(params=["built", "oracle"])
def either_oracle(request: pytest.FixtureRequest) -> Oracle:
    """Both of them."""
    found: Oracle = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def protein() -> str:
    rng = np.random.default_rng(3)
    return "".join(rng.choice(list(LETTERS[:20]), 60))
