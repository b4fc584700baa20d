# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import math

import numpy as np
import pytest
from scipy.stats import chi2

from bionemo.core.data.permute import permute


NUM_SEEDS = 200_000

# Orders made by this code when it was first released. Resumed runs depend on them: they never change.
GOLDEN = {
    (3, 0): [0, 2, 1],
    (10, 42): [5, 1, 8, 3, 7, 6, 0, 9, 4, 2],
    (64, 2**63 - 1): [14, 46, 28, 60, 59, 26, 29, 11, 53, 57],
    (65, 42): [23, 58, 38, 40, 39, 52, 49, 57, 7, 13],
    (1000, 42): [667, 220, 899, 238, 384, 932, 584, 394, 32, 628],
    (10**9, 7): [
        631172215,
        547671667,
        384732762,
        60849463,
        571039892,
        508745639,
        499420582,
        529612546,
        514983191,
        516265197,
    ],
    (2**40 + 7, 42): [
        1014486654774,
        631430349818,
        287772560236,
        815919023830,
        187093159493,
        1032879537630,
        271839377908,
        301202377778,
        789264364226,
        50254654719,
    ],
    (2**62 + 11, 2**64 - 1): [
        634005205011667929,
        1940858456086358486,
        3182948932440839879,
        4105734448332794273,
        1583101215580907897,
        2477753935955609310,
        938895070913810001,
        184781813427105883,
        1222440698352046401,
        2746044765504894141,
    ],
}


def test_every_length_up_to_2000_gives_each_number_once():
    for length in range(1, 2001):
        order = permute(np.arange(length), length, length)
        assert np.array_equal(np.sort(order), np.arange(length)), length


@pytest.mark.parametrize("length", [1, 2, 5, 64, 65, 128, 129, 1000])
def test_one_by_one_equals_all_at_once(length):
    for seed in (0, 1, 42, 2**63 - 1, 2**64 - 1):
        at_once = permute(np.arange(length), length, seed)
        assert at_once.dtype == np.int64
        assert [permute(index, length, seed) for index in range(length)] == at_once.tolist()


def test_lengths_above_32_bits_use_every_bit():
    length, num_indices = 2**40 + 7, 1_000_000
    for start in (0, length - num_indices):
        order = permute(np.arange(start, start + num_indices), length, 42)
        assert len(np.unique(order)) == num_indices
        assert order.min() >= 0
        assert order.max() < length
        assert len(np.unique(order % 512)) == 512
    assert permute(2**62 + 10, 2**62 + 11, 3) < 2**62 + 11


@pytest.mark.parametrize("length", [2, 3, 4])
def test_tiny_lengths_have_every_order_equally_often(length):
    seeds = np.arange(NUM_SEEDS)
    order = np.stack([permute(np.full(NUM_SEEDS, index), length, seeds) for index in range(length)])
    code = (order * length ** np.arange(length)[:, None]).sum(axis=0)
    counts = np.unique(code, return_counts=True)[1]
    assert len(counts) == math.factorial(length)
    np.testing.assert_allclose(counts * len(counts) / NUM_SEEDS, 1, atol=0.05)


@pytest.mark.parametrize("length", [5, 6, 7, 8, 64, 65, 100, 128])
def test_every_position_is_uniform(length):
    """Over many seeds, each position holds each number, and two neighbours have each distance, equally often."""
    num_seeds = NUM_SEEDS if length <= 8 else 50_000
    seeds = np.arange(num_seeds)
    positions = range(length) if length <= 8 else [0, 1, length // 2, length // 2 + 1, length - 2, length - 1]
    order = {index: permute(np.full(num_seeds, index), length, seeds) for index in positions}
    for index in positions:
        assert p_value(np.bincount(order[index], minlength=length)) > 1e-6
    for one, other in [(0, 1), (0, length // 2), (length - 2, length - 1)]:
        distances = (order[one] - order[other]) % length
        assert p_value(np.bincount(distances, minlength=length)[1:]) > 1e-6


def p_value(counts: np.ndarray) -> float:
    """Of Pearson's test against equal frequencies."""
    expected = counts.sum() / len(counts)
    return float(chi2.sf(((counts - expected) ** 2).sum() / expected, len(counts) - 1))


@pytest.mark.parametrize("length", [8, 1000])
def test_every_bit_of_the_seed_matters(length):
    order = permute(np.arange(length), length, 42).tolist()
    others = [permute(np.arange(length), length, 42 ^ (1 << bit)).tolist() for bit in range(64)]
    assert order not in others
    assert len({tuple(other) for other in others}) == 64


def test_seed_for_each_index():
    index, seeds = np.array([[3, 4], [3, 0]]), np.array([[1, 2], [1, 2**62]])
    for length in (7, 700):
        permuted = permute(index, length, seeds)
        assert permuted.shape == (2, 2)
        expected = [permute(int(i), length, int(s)) for i, s in zip(index.ravel(), seeds.ravel(), strict=True)]
        assert permuted.ravel().tolist() == expected


def test_many_seeds_of_a_tiny_length():
    """More seeds than are ranked at a time."""
    seeds = np.arange(10_000)
    expected = [permute(2, 5, seed) for seed in range(10_000)]
    assert permute(np.full(10_000, 2), 5, seeds).tolist() == expected


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32, np.uint8])
def test_numpy_integers(dtype):
    result = permute(dtype(7), dtype(200), dtype(42))
    assert result == permute(7, 200, 42)
    assert type(result) is int
    assert permute(np.arange(8, dtype=dtype), dtype(200), dtype(42)).tolist() == [
        permute(i, 200, 42) for i in range(8)
    ]


def test_empty_array():
    assert permute(np.zeros((0, 3), dtype=np.int32), 5, 1).shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, -1), "The length of the permuted range must be greater than 1."),
        ((0, -5, 1), "The length of the permuted range must be greater than 1."),
        ((5, 5, -1), "The index to permute must be in the range [0, l)."),
        ((-1, 5, 1), "The index to permute must be in the range [0, l)."),
        ((np.array([0, 5]), 5, 1), "The index to permute must be in the range [0, l)."),
        ((np.array([0, -1]), 5, 1), "The index to permute must be in the range [0, l)."),
        ((0, 5, -1), "The permutation seed must be greater than or equal to 0."),
        ((np.array([0]), 5, -1), "The permutation seed must be greater than or equal to 0."),
        ((0, 5, 2**64), f"The permutation seed must be below 2**64, got {2**64}."),
        ((0, 2**63, 1), f"The length of the permuted range must be below 2**63, got {2**63}."),
        ((np.array([0, 1]), 5, np.array([1])), "The seeds must have the shape of the indices, (2,), got (1,)."),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the whole text is compared
        permute(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("arguments", [(0.5, 5, 1), (0, 5.0, 1), (0, 5, 1.0), (np.array([0.5]), 5, 1)])
def test_other_types(arguments):
    with pytest.raises(TypeError):
        permute(*arguments)


@pytest.mark.parametrize(("length", "seed"), GOLDEN)
def test_golden_orders(length, seed):
    assert permute(np.arange(min(length, 10)), length, seed).tolist() == GOLDEN[length, seed]
