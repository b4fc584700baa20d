# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Contacts by both methods against transformers, and the choice between them."""

import numpy as np
import pytest
import torch

from bionemo.core.errors import ConfigError
from bionemo.esm2 import ESM2, build_esm2, esm2_config
from bionemo.esm2.contacts.attention import has_trained_contact_head
from bionemo.esm2.contacts.predictor import ContactPredictor
from bionemo.testing.esm2_oracle import LETTERS, ESM2Oracle


def standard_logits(oracle: ESM2Oracle, sequence: str) -> np.ndarray:
    """[S, 20] of the standard residues."""
    return oracle.states_and_logits(sequence)[1][:, 4:24]


def test_attention_contacts_are_those_of_transformers(either_oracle, protein):
    model = ESM2.from_pretrained(either_oracle.checkpoint, device="cpu")
    for sequence in (protein, protein[:1], protein[:5]):
        expected = either_oracle.contacts(sequence)
        found = model.predict_contacts(sequence)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_array_equal(found.shape, (len(sequence), len(sequence)))
    assert np.ptp(either_oracle.contacts(protein)) > 0.1  # the test could see a difference


def test_the_categorical_jacobian_is_that_of_its_definition(oracle, protein):
    sequence = protein[:12]
    reference = standard_logits(oracle, sequence)
    jacobian = np.array(
        [
            [
                standard_logits(oracle, sequence[:place] + new + sequence[place + 1 :]) - reference
                for new in LETTERS[:20]
            ]
            for place in range(len(sequence))
        ]
    )  # [place, new, place, logit]
    for axis in range(4):
        jacobian = jacobian - jacobian.mean(axis, keepdims=True)
    jacobian = (jacobian + jacobian.transpose(2, 3, 0, 1)) / 2
    norms = np.sqrt((jacobian**2).sum((1, 3)))
    np.fill_diagonal(norms, 0)
    expected = norms - norms.sum(0, keepdims=True) * norms.sum(1, keepdims=True) / norms.sum()
    model = ESM2.from_pretrained(oracle.checkpoint, device="cpu")
    found = model.predict_contacts(sequence, method="jacobian")
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(found, found.T)


def test_a_head_that_nobody_fitted_is_not_used(oracle):
    module = build_esm2(esm2_config("8M", num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=48))
    assert not has_trained_contact_head(module.model)
    assert ContactPredictor(module).method == "jacobian"
    with pytest.raises(ConfigError, match=r"no trained contact head\. Use .*: --method jacobian"):
        ContactPredictor(module, "attention")
    with torch.no_grad():
        module.model.contact_head.regression.bias.fill_(-3.0)
    assert ContactPredictor(module).method == "attention"
    with pytest.raises(ConfigError, match="precision 8: not one of"):
        ContactPredictor(module, precision="8")
    module.model.remove_token_head()
    with pytest.raises(ConfigError, match="masked-token head, which this model lacks"):
        ContactPredictor(module, "jacobian")
