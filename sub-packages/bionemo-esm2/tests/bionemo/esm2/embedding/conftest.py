# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny ESM-2 that transformers wrote, proteins, and what transformers computes of each of them alone."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch


SHAPE = {
    "vocab_size": 33, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "pad_token_id": 1, "mask_token_id": 32, "position_embedding_type": "rotary", "token_dropout": True,
    "emb_layer_norm_before": False, "layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0, "initializer_range": 0.1,
}  # fmt: skip
LETTERS = "LAGVSERTIDPKQNFYMHWC"


class Oracle(NamedTuple):
    """A model of transformers, and the folder where it was saved."""

    model: Any
    checkpoint: Path

    def __call__(self, sequence: str) -> tuple[list[np.ndarray], np.ndarray]:
        """Hidden states of every layer [S + 2, H] and logits [S, 33] of one sequence, unpadded."""
        with torch.no_grad():
            found = self.model(torch.tensor([tokens_of(sequence)]), output_hidden_states=True)
        return [states[0].numpy() for states in found.hidden_states], found.logits[0, 1:-1].numpy()

    def pseudo_perplexity(self, sequence: str) -> float:
        """Mask one position after the other, each in a forward pass of its own, in float64."""
        scores = []
        for place in range(1, len(sequence) + 1):
            tokens = torch.tensor([tokens_of(sequence)])
            residue, tokens[0, place] = int(tokens[0, place]), 32
            with torch.no_grad():
                scores.append(float(self.model(tokens).logits[0, place].double().log_softmax(0)[residue]))
        return float(np.exp(-np.mean(scores)))


def tokens_of(sequence: str) -> list[int]:
    return [0, *(4 + LETTERS.index(letter) for letter in sequence), 2]


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = transformers.EsmForMaskedLM(transformers.EsmConfig(**SHAPE)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:  # zeros would hide a mistake
                    parameter.add_(0.1 * torch.randn(parameter.shape))
    folder = tmp_path_factory.mktemp("esm2")
    model.save_pretrained(folder)
    return Oracle(model, folder)


@pytest.fixture(scope="session")
def sequences() -> list[str]:
    """Of many lengths, in no order, one of them twice."""
    rng = np.random.default_rng(3)
    found = ["".join(rng.choice(list(LETTERS), length)) for length in (7, 1, 40, 12, 90, 12, 3, 25, 1, 61)]
    return [*found, found[3]]
