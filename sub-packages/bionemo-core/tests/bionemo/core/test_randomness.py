# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from bionemo.core.randomness import Stream, hash_words, mix64, rng_for


def test_mix64_is_the_published_finaliser():
    """First three outputs of SplitMix64 from seed 1234567, as published with its reference implementation."""
    golden = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + k * golden) % 2**64 for k in (1, 2, 3)], dtype=np.uint64)
    assert mix64(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_hash_words_is_frozen():
    assert hash_words(42, Stream.SHUFFLE, 0, 0).tolist() == [15716512887884464927]


def test_hash_words_broadcasts_and_depends_on_order_and_number():
    table = hash_words(np.arange(3)[:, None], np.arange(4))
    assert table.shape == (3, 4)
    assert table.dtype == np.uint64
    assert table[2, 3] == hash_words(2, 3)[0]
    words = [hash_words(*each)[0] for each in [(1, 2), (2, 1), (1, 2, 0), (1,), (0, 1, 2)]]
    assert len(set(words)) == 5


def test_hash_words_bits_are_fair_and_unrelated_to_those_of_the_next_index():
    words = hash_words(42, Stream.MASK, 3, np.arange(100_000))
    bits = np.unpackbits(words[:, None].view(np.uint8), axis=1)
    # 64 fair coins thrown 100,000 times: each share within five standard deviations of a half
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(100_000)
    flips = (bits[1:] != bits[:-1]).mean(axis=0)
    assert np.abs(flips - 0.5).max() < 5 * 0.5 / np.sqrt(100_000)


def test_rng_for_tells_apart_all_four_entries():
    draws = {
        int(rng_for(seed, stream, epoch=epoch, index=index).integers(2**62))
        for seed in (0, 1)
        for stream in (Stream.CROP, Stream.MASK)
        for epoch in (0, 1)
        for index in (0, 1)
    }
    assert len(draws) == 16
    expected = np.random.default_rng([42, 2, 1, 5]).random(3)
    np.testing.assert_array_equal(rng_for(42, Stream.CROP, epoch=1, index=5).random(3), expected)


def test_negative_words_are_refused():
    with pytest.raises((OverflowError, ValueError)):
        rng_for(-1, Stream.CROP)
