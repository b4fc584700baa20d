# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import difflib
import itertools

import numpy as np
import pytest

from bionemo.testing.proteins import (
    AMINO_ACIDS,
    EXCHANGE_GROUPS,
    make_proteins,
    residue_frequencies,
    unigram_entropy,
)


def test_a_pure_function_of_its_arguments_and_appending():
    few, many = make_proteins(10, seed=1), make_proteins(30, seed=1)
    assert many[:10] == few
    assert make_proteins(10, seed=2) != few
    assert [protein.id.rpartition("_")[2] for protein in many] == [str(i) for i in range(30)]


def test_lengths_letters_and_composition():
    proteins = make_proteins(300, num_families=300, min_length=50, max_length=100, indel_rate=0.0)
    assert {len(protein.sequence) for protein in proteins} <= set(range(50, 101))
    text = "".join(protein.sequence for protein in proteins)
    assert set(text) == set(AMINO_ACIDS)
    observed = np.array([text.count(residue) for residue in AMINO_ACIDS]) / len(text)
    np.testing.assert_allclose(observed, residue_frequencies(), atol=0.02)  # ~22,000 residues: 6 standard errors
    assert sum(map(len, EXCHANGE_GROUPS)) == 20


def test_members_of_a_family_are_alike_and_others_are_not():
    proteins = make_proteins(40, num_families=4)
    similar, different = [], []
    for a, b in itertools.pairwise(proteins):
        ratio = difflib.SequenceMatcher(None, a.sequence, b.sequence, autojunk=False).ratio()
        (similar if a.family == b.family else different).append(ratio)
    assert min(similar) > 0.5 > 0.45 > max(different)


def test_substitutions_keep_to_the_groups_at_the_given_rate():
    # Without indels members of one family align position by position.
    proteins = make_proteins(200, num_families=1, min_length=200, max_length=200, substitution_rate=0.1, indel_rate=0)
    letters = np.array([list(protein.sequence) for protein in proteins])
    ancestor = np.array([max(set(column), key=list(column).count) for column in letters.T])
    changed = letters != ancestor
    assert changed.mean() == pytest.approx(0.1, abs=0.01)
    group = {residue: members for members in EXCHANGE_GROUPS for residue in members}
    within = [group[ancestor[j]] == group[letters[i, j]] for i, j in np.argwhere(changed)]
    assert 0.4 < np.mean(within) < 0.8


def test_a_masked_residue_is_predictable_from_its_family():
    proteins = make_proteins(400, num_families=4, indel_rate=0.0)
    line = unigram_entropy([protein.sequence for protein in proteins])
    assert 2.5 < line < np.log(20)
    conditional, total = 0.0, 0
    for family in range(4):
        letters = np.array([list(protein.sequence) for protein in proteins if protein.family == family])
        for column in letters.T:
            conditional += unigram_entropy(list(column)) * len(column)
            total += len(column)
    assert conditional / total < line - 1.5


def test_unigram_entropy_of_known_compositions():
    assert unigram_entropy(["AAAA"]) == 0.0
    assert unigram_entropy(["AC", "AC"]) == pytest.approx(np.log(2))
