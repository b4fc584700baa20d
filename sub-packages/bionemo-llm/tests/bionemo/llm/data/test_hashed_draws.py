# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from bionemo.core.randomness import Stream
from bionemo.llm.data.hashed_draws import draw_below, sample_keys, token_words


def test_keys_are_distinct_and_depend_on_every_part():
    idxs = np.arange(100_000)
    base = sample_keys(42, Stream.MASK, 0, idxs)
    assert len(np.unique(base)) == len(idxs)
    for other in (
        sample_keys(43, Stream.MASK, 0, idxs),
        sample_keys(42, Stream.CROP, 0, idxs),
        sample_keys(42, Stream.MASK, 1, idxs),
    ):
        assert not np.intersect1d(base, other).size


# Computed with Python integers from the definition of SplitMix64; an exact resume depends on them.
GOLDEN = ["e720466ff50a6255", "065b6f0b0449d850", "8cdc8df93f642bae", "84f9eeaedc4eb6b0", "f5935b685bad1790"]


def test_draws_are_frozen():
    keys = sample_keys(42, Stream.MASK, 3, np.array([0, 7]))
    words = token_words(keys, np.array([2, 1]))
    assert [f"{word:016x}" for word in [*keys.tolist(), *words.tolist()]] == GOLDEN


def test_words_of_a_sample_do_not_depend_on_its_neighbours():
    keys = sample_keys(1, Stream.MASK, 0, np.array([5, 6, 7]))
    together = token_words(keys, np.array([4, 9, 3]))
    np.testing.assert_array_equal(together[4:13], token_words(keys[1:2], np.array([9])))
    np.testing.assert_array_equal(together[4:8], token_words(keys[1:2], np.array([4])))  # nor on its own length


def test_words_are_uniform_in_every_bit():
    words = token_words(sample_keys(0, Stream.MASK, 0, np.arange(50)), np.full(50, 2000))
    bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 5 * 0.5 / np.sqrt(len(words))  # five standard errors
    neighbours = np.corrcoef(words[:-1].astype(float), words[1:].astype(float))[0, 1]
    assert abs(neighbours) < 5 / np.sqrt(len(words))


@pytest.mark.parametrize("bound", [1, 2, 7, 1000])
def test_draw_below_is_uniform_and_in_range(bound):
    words = sample_keys(9, Stream.CROP, 0, np.arange(70_000))
    counts = np.bincount(draw_below(words, np.full(len(words), bound)), minlength=bound)
    assert len(counts) == bound
    expected = len(words) / bound
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < bound - 1 + 6 * np.sqrt(2 * bound)  # six standard deviations of chi-square


def test_no_samples_give_no_words():
    assert len(token_words(sample_keys(0, Stream.MASK, 0, np.empty(0, np.int64)), np.empty(0, np.int64))) == 0
