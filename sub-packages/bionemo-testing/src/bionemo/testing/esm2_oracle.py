# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Random ESM-2 models of transformers, and the answers of one of them, each sequence alone and unpadded.

Letters: S residues, T tokens (S + 2), H hidden size, K masked residues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


MASK = 32
"""Mask token id."""
SHAPE = {
    "vocab_size": 33, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "pad_token_id": 1, "mask_token_id": MASK, "position_embedding_type": "rotary", "token_dropout": True,
    "emb_layer_norm_before": False, "layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0, "initializer_range": 0.1,
}  # fmt: skip
LETTERS = "LAGVSERTIDPKQNFYMHWCXBUZO"
"""Residues in the order of their token ids, which begin with 4; the first 20 are the standard ones."""


def token(letter: str) -> int:
    """Return the token id of a residue."""
    return 4 + LETTERS.index(letter)


def tokens_of(sequence: str) -> list[int]:
    """Return the token ids of a protein, between those of its start and end."""
    return [0, *map(token, sequence), 2]


def random_esm2(class_name: str = "EsmForMaskedLM", **changes: Any) -> Any:
    """Build an ESM-2 model of transformers with random weights, in evaluation mode; the test is skipped without it.

    Args:
        class_name: Class of transformers.
        changes: Fields of ``EsmConfig`` that differ from ``SHAPE``.

    Returns:
        The same model in every call; its biases and norms are random too: zeros would hide a mistake.
    """
    import torch

    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = getattr(transformers, class_name)(transformers.EsmConfig(**{**SHAPE, **changes})).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


class ESM2Oracle(NamedTuple):
    """A masked language model of transformers in float64, and the folder where it was saved in float32."""

    model: Any
    checkpoint: Path

    @classmethod
    def build(cls, folder: Path, *, initializer_range: float = 0.3) -> ESM2Oracle:
        """Build a model: recent releases write other parameter names for it than for a loaded one."""
        import torch

        model = random_esm2(attn_implementation="eager", initializer_range=initializer_range)
        head = model.esm.contact_head.regression
        with torch.no_grad():
            head.weight.copy_(torch.linspace(-3.0, 3.0, head.weight.numel()))  # contacts that differ
        model.save_pretrained(folder)
        return cls(model.double(), folder)

    def reloaded(self, folder: Path) -> ESM2Oracle:
        """Return the same model after transformers has loaded it and saved it again."""
        model = type(self.model).from_pretrained(self.checkpoint, attn_implementation="eager").eval()
        model.save_pretrained(folder)
        return ESM2Oracle(model.double(), folder)

    def states_and_logits(self, sequence: str) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the hidden states of every layer, [T, H], and the logits of the residues, [S, 33]."""
        found = self._forward(tokens_of(sequence), output_hidden_states=True)
        return [states[0].numpy() for states in found.hidden_states], found.logits[0, 1:-1].numpy()

    def log_probabilities(self, tokens: Sequence[int]) -> np.ndarray:
        """Return the log probabilities of tokens, [T, 33]."""
        found: np.ndarray = self._forward(tokens).logits[0].log_softmax(-1).numpy()
        return found

    def masked(self, sequence: str, *places: int) -> np.ndarray:
        """Return the log probabilities at residues that are masked together, [K, 33]."""
        tokens = tokens_of(sequence)
        for place in places:
            tokens[place + 1] = MASK
        return self.log_probabilities(tokens)[[place + 1 for place in places]]

    def marginal(self, sequence: str, place: int, new: str) -> float:
        """Return the masked marginal of one substitution."""
        row = self.masked(sequence, place)[0]
        return float(row[token(new)] - row[token(sequence[place])])

    def log_likelihood(self, sequence: str) -> float:
        """Return the mean over the residues of log p(residue | all others), one forward pass each."""
        return float(
            np.mean([self.masked(sequence, place)[0, token(letter)] for place, letter in enumerate(sequence)])
        )

    def contacts(self, sequence: str) -> np.ndarray:
        """Return the probabilities of contacts, [S, S]."""
        import torch

        tokens = torch.tensor([tokens_of(sequence)])
        with torch.no_grad():
            found: np.ndarray = self.model.predict_contacts(tokens, torch.ones_like(tokens))[0].numpy()
        return found

    def _forward(self, tokens: Sequence[int], **options: Any) -> Any:
        import torch

        with torch.no_grad():
            return self.model(torch.tensor([list(tokens)]), **options)
