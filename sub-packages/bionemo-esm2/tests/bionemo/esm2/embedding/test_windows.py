# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Long proteins in windows against transformers on each window's tokens alone."""

import numpy as np
import pytest
import torch

from bionemo.esm2 import load_esm2
from bionemo.esm2.data.fasta_records import encode_residues
from bionemo.esm2.embedding.embedder import EmbeddingOptions, ProteinEmbedder
from bionemo.esm2.embedding.windows import windows_of
from bionemo.esm2.variants.windows import window_start


SIZE = 16


@pytest.mark.parametrize(("num_tokens", "size"), [(17, 16), (16, 16), (3, 16), (92, 16), (1000, 7), (35_002, 1024)])
def test_windows_cover_every_token_once_with_context_on_both_sides(num_tokens: int, size: int) -> None:
    windows = windows_of(num_tokens, size)
    kept = np.concatenate([np.arange(each.keep_start, each.keep_stop) for each in windows])
    np.testing.assert_array_equal(kept, np.arange(num_tokens))
    for each in windows:
        assert 0 <= each.start <= each.keep_start < each.keep_stop <= min(each.start + size, num_tokens)
        assert each.start == 0 or each.keep_start - each.start >= size // 4 - 1
        assert each.start + size >= num_tokens or each.start + size - each.keep_stop >= size // 4 - 1


def windowed(oracle, sequences, **options):
    proteins = [encode_residues("a sequence", sequence, "error") for sequence in sequences]
    return ProteinEmbedder(load_esm2(oracle.checkpoint), EmbeddingOptions(window=SIZE, **options)).embed(proteins)


def by_windows(oracle, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states [S + 2, H] and logits of a protein, each window through transformers by itself."""
    states, logits = [], []
    for start, keep_start, keep_stop in windows_of(len(tokens), SIZE):
        with torch.no_grad():
            found = oracle.model(torch.tensor([tokens[start : start + SIZE]]), output_hidden_states=True)
        rows = slice(keep_start - start, keep_stop - start)
        states.append(found.hidden_states[-1][0, rows])
        logits.append(found.logits[0, rows])
    return torch.cat(states).numpy(), torch.cat(logits).numpy()


@pytest.mark.parametrize("max_tokens", [1, 40, 4096])
def test_states_logits_and_poolings_are_those_of_the_windows(oracle, sequences, max_tokens) -> None:
    options = {"kinds": ("mean", "cls"), "include_hiddens": True, "include_logits": True, "max_tokens": max_tokens}
    found = windowed(oracle, sequences, **options)
    assert max(map(len, sequences)) > 3 * SIZE
    for place, sequence in enumerate(sequences):
        states, logits = by_windows(oracle, [0, *encode_residues("", sequence, "error"), 2])
        rows = slice(*found.offsets[place : place + 2])
        np.testing.assert_allclose(found.residues["hidden_states"][rows], states[1:-1], atol=1e-5)
        np.testing.assert_allclose(found.residues["token_logits"][rows], logits[1:-1], atol=1e-5)
        np.testing.assert_allclose(found.embeddings["mean"][place], states[1:-1].mean(0), atol=1e-5)
        np.testing.assert_allclose(found.embeddings["cls"][place], states[0], atol=1e-5)


def test_pseudo_perplexity_masks_each_residue_in_the_window_around_it(oracle, sequences) -> None:
    sequence = max(sequences, key=len)[:40]
    tokens = torch.tensor([0, *encode_residues("", sequence, "error"), 2])
    scores = []
    for token in range(1, len(tokens) - 1):
        start = window_start(token, token, len(tokens), SIZE)
        window = tokens[start : start + SIZE].clone()
        window[token - start] = 32
        with torch.no_grad():
            logits = oracle.model(window[None]).logits[0, token - start]
        scores.append(float(logits.double().log_softmax(0)[tokens[token]]))
    found = windowed(oracle, [sequence, "MK"], pseudo_perplexity=True).pseudo_perplexity
    np.testing.assert_allclose(found[0], np.exp(-np.mean(scores)), rtol=1e-5)
    np.testing.assert_allclose(found[1], np.exp(-oracle.log_likelihood("MK")), rtol=1e-5)


def test_special_tokens_are_given_on_request(oracle, sequences) -> None:
    proteins = [encode_residues("", sequence, "error") for sequence in sequences]
    options = EmbeddingOptions(include_hiddens=True, include_input_ids=True, special_tokens=True, max_tokens=50)
    found = ProteinEmbedder(load_esm2(oracle.checkpoint), options).embed(proteins)
    for place, sequence in enumerate(sequences):
        rows = slice(*found.offsets[place : place + 2])
        np.testing.assert_allclose(
            found.residues["hidden_states"][rows], oracle.states_and_logits(sequence)[0][-1], atol=1e-5
        )
        assert found.residues["input_ids"][rows].tolist() == [0, *proteins[place], 2]
