# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Vectors of packed proteins against transformers on each protein alone, unpadded."""

import numpy as np
import pytest

from bionemo.core.errors import ConfigError, DataError
from bionemo.esm2 import ESM2, load_esm2
from bionemo.esm2.data.fasta_records import encode_residues
from bionemo.esm2.embedding.embedder import EmbeddingOptions, ProteinEmbedder


def embed(oracle, sequences, **options):
    proteins = [encode_residues("a sequence", sequence, "error") for sequence in sequences]
    return ProteinEmbedder(load_esm2(oracle.checkpoint), EmbeddingOptions(**options)).embed(proteins)


@pytest.mark.parametrize("max_tokens", [1, 50, 4096])
def test_pooled_layers_equal_transformers_in_the_order_given(oracle, sequences, max_tokens):
    kinds = ("mean", "cls", "max", "sum")
    found = embed(oracle, sequences, kinds=kinds, layers=(0, 2, -1), max_tokens=max_tokens).embeddings
    assert sorted(found) == sorted(f"{kind}_layer_{layer}" for kind in kinds for layer in (0, 2, 3))
    for row, sequence in enumerate(sequences):
        states, _ = oracle.states_and_logits(sequence)
        for layer in (0, 2, 3):
            residues = states[layer][1:-1].astype(np.float64)
            expected = {"mean": residues.mean(0), "max": residues.max(0), "sum": residues.sum(0)}
            expected["cls"] = states[layer][0]
            for kind in kinds:
                np.testing.assert_allclose(found[f"{kind}_layer_{layer}"][row], expected[kind], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_residues_of_one_layer_equal_transformers(oracle, sequences, layer):
    found = embed(oracle, sequences, include_hiddens=True, layers=(layer,), max_tokens=50)
    parts = np.split(found.residues["hidden_states"], found.offsets[1:-1])
    for part, sequence in zip(parts, sequences, strict=True):
        np.testing.assert_allclose(part, oracle.states_and_logits(sequence)[0][layer][1:-1], atol=1e-5)


def test_logits_and_tokens_equal_transformers(oracle, sequences):
    found = embed(oracle, sequences, include_logits=True, include_input_ids=True, max_tokens=50)
    np.testing.assert_allclose(
        found.residues["token_logits"],
        np.concatenate([oracle.states_and_logits(sequence)[1] for sequence in sequences]),
        atol=1e-5,
    )
    ids = np.split(found.residues["input_ids"], found.offsets[1:-1])
    assert [part.tolist() for part in ids] == [list(encode_residues("", s, "error")) for s in sequences]


@pytest.mark.parametrize("max_tokens", [1, 4096])
def test_pseudo_perplexity_equals_one_position_at_a_time(oracle, sequences, max_tokens):
    found = embed(oracle, sequences[:4], pseudo_perplexity=True, max_tokens=max_tokens).pseudo_perplexity
    np.testing.assert_allclose(
        found, [np.exp(-oracle.log_likelihood(sequence)) for sequence in sequences[:4]], rtol=1e-5
    )


def test_bf16_stays_near_float32(oracle, sequences):
    exact = embed(oracle, sequences, kinds=("mean",)).embeddings["mean"]
    found = embed(oracle, sequences, kinds=("mean",), precision="bf16-mixed").embeddings["mean"]
    cosines = (exact * found).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > 0.999
    assert not np.array_equal(exact, found)


def test_the_class_gives_arrays_lists_and_frames(oracle, sequences):
    model = ESM2.from_pretrained(oracle.checkpoint, device="cpu")
    means = model.embed(sequences)
    np.testing.assert_allclose(means[4], oracle.states_and_logits(sequences[4])[0][-1][1:-1].mean(0), atol=1e-5)
    frame = model.embed({"b": sequences[0], "a": sequences[1]}, kind="cls", layer=1)
    assert (frame.index.name, list(frame.index)) == ("id", ["b", "a"])
    np.testing.assert_allclose(frame.loc["a"], oracle.states_and_logits(sequences[1])[0][1][0], atol=1e-5)
    assert model.embed(sequences[2]).shape == (1, 32)
    np.testing.assert_allclose(
        model.embed_residues(sequences)[6], oracle.states_and_logits(sequences[6])[0][-1][1:-1], atol=1e-5
    )
    np.testing.assert_allclose(model.logits(sequences[0])[0], oracle.states_and_logits(sequences[0])[1], atol=1e-5)
    expected = np.exp(-oracle.log_likelihood(sequences[0]))
    np.testing.assert_allclose(model.pseudo_perplexity(sequences[0]), [expected], rtol=1e-5)
    with pytest.raises(DataError, match="sequence 1: has no residues"):
        model.embed(["MK", ""])
    with pytest.raises(DataError, match=r"sequence P1: Character 'J' at position 2"):
        model.embed({"P1": "MJ"})
    for layer in (4, -5):
        with pytest.raises(ConfigError, match=rf"layer {layer}: expected 0 \(the embedding\) to 3"):
            model.embed("MK", layer=layer)
