# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Answers from packs against transformers in float64, one sequence and one mask at a time."""

import numpy as np
import pytest
import torch

from bionemo.core.errors import ConfigError, DataError
from bionemo.esm2 import build_esm2, esm2_config, load_esm2
from bionemo.esm2.variants.masked_copies import ForwardOptions, Masked, MaskedCopies, PseudoLikelihood, Unmasked
from bionemo.esm2.variants.masked_forward import masked_logits
from bionemo.esm2.variants.windows import overlapping_windows, window_start, window_weights
from bionemo.testing.esm2_oracle import tokens_of


def residues_of(sequence):
    return bytes(tokens_of(sequence)[1:-1])


@pytest.mark.parametrize("max_tokens", [1, 200])
def test_answers_are_those_of_each_masked_sequence_alone(either_oracle, protein, max_tokens):
    copies = MaskedCopies(load_esm2(either_oracle.checkpoint), ForwardOptions(max_tokens=max_tokens))
    short, odd = protein[:9], "GXU" + protein[9:14]
    questions = [
        Masked(residues_of(protein), (5,)),
        Masked(residues_of(short), (0, 3, 8)),
        PseudoLikelihood(residues_of(odd)),
        Masked(residues_of(protein), (59,)),
        Unmasked(residues_of(short)),
        Masked(residues_of(odd), (1,)),
        Masked(residues_of(protein[::-1]), (5,)),  # of the same shape, with other tokens
    ]
    expected = [
        either_oracle.masked(protein, 5),
        either_oracle.masked(short, 0, 3, 8),
        np.array([either_oracle.log_likelihood(odd)]),
        either_oracle.masked(protein, 59),
        either_oracle.log_probabilities(tokens_of(short))[1:-1],
        either_oracle.masked(odd, 1),
        either_oracle.masked(protein[::-1], 5),
    ]
    for found, wanted in zip(copies.answer(questions), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5)  # float32 of values up to 10


def test_a_model_of_one_block_looks_its_queries_up():
    module = build_esm2(esm2_config("8M", num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=48))
    tokens = np.array([0, 5, 32, 7, 2, 0, 32, 2], dtype=np.uint8)
    with torch.no_grad():
        found = masked_logits(module.model, tokens, np.array([5, 3]))
        alone = [
            module(torch.tensor([part])).token_logits[0, place]
            for part, place in (([0, 5, 32, 7, 2], 2), ([0, 32, 2], 1))
        ]
    torch.testing.assert_close(found, torch.stack(alone), atol=1e-6, rtol=0)


def test_windows_stand_around_the_masked_residue_and_count_special_tokens(oracle, protein):
    """Residue i is token i + 1: at both ends and in between the window holds exactly the tokens that it should."""
    copies = MaskedCopies(load_esm2(oracle.checkpoint), ForwardOptions(window=20))
    tokens = tokens_of(protein)  # 62
    for place, start in ((0, 0), (9, 0), (10, 1), (30, 21), (50, 41), (51, 42), (59, 42)):
        window = tokens[start : start + 20]
        window[place + 1 - start] = 32
        expected = oracle.log_probabilities(window)[place + 1 - start]
        (found,) = copies.answer([Masked(residues_of(protein), (place,))])
        np.testing.assert_allclose(found[0], expected, atol=2e-5, err_msg=str(place))
    with pytest.raises(DataError, match="residues 1 and 31 do not fit into one window of 20 tokens"):
        copies.answer([Masked(residues_of(protein), (0, 30))])


def test_windows_without_masks_are_averaged_by_their_weights(oracle, protein):
    tokens = tokens_of(protein)
    (found,) = MaskedCopies(load_esm2(oracle.checkpoint), ForwardOptions(window=20)).answer(
        [Unmasked(residues_of(protein))]
    )
    starts = overlapping_windows(len(tokens), 20)
    sums, weights = np.zeros((62, 33)), np.zeros((62, 1))
    for start in starts:
        weight = window_weights(start, 62, 20)[:, None]
        sums[start : start + 20] += weight * oracle.log_probabilities(tokens[start : start + 20])
        weights[start : start + 20] += weight
    np.testing.assert_allclose(found, (sums / weights)[1:-1], atol=2e-5)
    np.testing.assert_allclose(found[0], oracle.log_probabilities(tokens[:20])[1], atol=2e-3)


@pytest.mark.parametrize(("num_tokens", "window"), [(1025, 1024), (2047, 1024), (2048, 1024), (5001, 1024), (62, 20)])
def test_windows_cover_every_token(num_tokens, window):
    covered = np.zeros(num_tokens)
    for start in overlapping_windows(num_tokens, window):
        weights = window_weights(start, num_tokens, window)
        assert len(weights) == window
        covered[start : start + window] += weights
    assert covered.min() > 0.4
    assert covered[0] >= 1
    assert covered[-1] >= 1
    for token in range(num_tokens):
        start = window_start(token, token, num_tokens, window)
        assert 0 <= start <= token < start + window <= num_tokens


def test_models_that_cannot_score_are_refused():
    module = build_esm2(esm2_config("8M", num_layers=1, hidden_size=32, num_attention_heads=2, ffn_hidden_size=48))
    with pytest.raises(ConfigError, match="precision 8: not one of 32-true"):
        MaskedCopies(module, ForwardOptions(precision="8"))
    module.model.remove_token_head()
    with pytest.raises(ConfigError, match="masked-token head, which this model lacks"):
        MaskedCopies(module, ForwardOptions())
