# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Clusters and splits: relatives stay together, parts have their sizes, equal seeds give equal splits."""

from pathlib import Path

import numpy as np
import pytest

from bionemo.core.errors import DataError
from bionemo.esm2.finetuning.kmer_clusters import cluster_sequences, coverage, expected_coverage, kmers_of
from bionemo.esm2.finetuning.splits import (
    clusters_from_file,
    folds_by_column,
    grouped_folds,
    held_out_group_split,
    split_by_column,
)


def mutated(sequence: bytes, identity: float, rng: np.random.Generator) -> bytes:
    letters = np.frombuffer(sequence, np.uint8).copy()
    changed = rng.random(len(letters)) > identity
    letters[changed] = 4 + (letters[changed] - 4 + rng.integers(1, 20, int(changed.sum()))) % 20
    return letters.tobytes()


def random_protein(rng: np.random.Generator, length: int = 250) -> bytes:
    return rng.integers(4, 24, length).astype(np.uint8).tobytes()


def test_relatives_are_together_and_strangers_apart_even_with_a_common_tag() -> None:
    rng = np.random.default_rng(0)
    tag = random_protein(rng, 20)
    ancestors = [random_protein(rng) for _ in range(12)]
    sequences = [mutated(ancestor, 0.7, rng) for ancestor in ancestors for _ in range(4)] + ancestors
    truth = np.array([*np.repeat(np.arange(12), 4), *range(12)])
    clusters = cluster_sequences([tag + sequence for sequence in sequences], identity=0.5)
    assert len(set(clusters)) == 12
    np.testing.assert_array_equal(clusters[:, None] == clusters, truth[:, None] == truth)
    assert len(set(cluster_sequences([*sequences[:4], b"\x04", b"\x04"], identity=1.0))) == 5  # equal ones alone


def test_the_threshold_is_what_mutated_sequences_share() -> None:
    rng = np.random.default_rng(1)
    ancestor = random_protein(rng, 20_000)
    for identity in (0.4, 0.6, 0.8):
        found = coverage(kmers_of(mutated(ancestor, identity, rng)), kmers_of(ancestor), 20_000)
        by_chance = coverage(kmers_of(random_protein(rng, 20_000)), kmers_of(ancestor), 20_000)
        assert found == pytest.approx(
            expected_coverage(identity) + by_chance * (1 - expected_coverage(identity)), abs=0.03
        )


def test_groups_are_dealt_whole() -> None:
    groups = np.repeat(np.arange(20), np.arange(1, 21))
    folds = grouped_folds(groups, 3, seed=4)
    assert all(len(set(folds[groups == group])) == 1 for group in range(20))
    assert np.bincount(folds).max() - np.bincount(folds).min() <= 2
    np.testing.assert_array_equal(folds, grouped_folds(groups, 3, seed=4))
    same_size = np.arange(30)
    assert (grouped_folds(same_size, 3, seed=4) != grouped_folds(same_size, 3, seed=5)).any()
    valid, test, train = held_out_group_split(groups, (0.2, 0.1), seed=4)
    assert sorted([*valid, *test, *train]) == list(range(len(groups)))
    assert not set(groups[valid]) & set(groups[train])
    assert not set(groups[test]) & (set(groups[train]) | set(groups[valid]))
    assert len(valid) == pytest.approx(0.2 * len(groups), abs=3)


def test_columns_and_files_say_what_is_held_out(tmp_path: Path) -> None:
    split = split_by_column(["Train", "dev", "", "test"], "x")
    assert [part.tolist() for part in split] == [[0], [1], [3]]
    assert split.held_out.tolist() == [3]
    assert split_by_column(["train", "test"], "x").held_out.tolist() == [1]
    assert folds_by_column(["10", "2", "10"], 2, "x").tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="holds 2 folds"):
        folds_by_column(["1", "2"], 3, "x")
    (tmp_path / "clusters.tsv").write_text("a\ta\na\tb\nc\tc\n")
    assert clusters_from_file(tmp_path / "clusters.tsv", ["b", "c", "a"]).tolist() == [0, 1, 0]
    with pytest.raises(DataError, match="'d' is in no cluster"):
        clusters_from_file(tmp_path / "clusters.tsv", ["b", "d"])
