# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import random

import pytest

from bionemo.core.data.resamplers import PRNGResampleDataset


def expected(seed, length, num):
    rng = random.Random(seed)
    return [rng.randint(0, length - 1) for _ in range(num)]


@pytest.mark.parametrize(("seed", "length", "num_samples"), [(42, 10, None), (0, 3, 50), (7, 1000, 20)])
def test_sequence_is_that_of_the_standard_generator(seed, length, num_samples):
    data = PRNGResampleDataset(range(length), seed=seed, num_samples=num_samples)
    assert len(data) == (num_samples or length)
    assert [data[i] for i in range(len(data))] == expected(seed, length, len(data))


def test_any_order_of_reading_gives_the_same_items():
    items = expected(42, 100, 30)
    data = PRNGResampleDataset(range(100), num_samples=30)
    for index in (0, 5, 5, 29, 28, 3, 4, 0, 29, 29, 1):
        assert data[index] == items[index]


def test_reading_forward_advances_one_generator():
    data = PRNGResampleDataset(range(100), num_samples=30)
    draws = []
    data.rand_idx, original = lambda: draws.append(0) or original(), data.rand_idx
    for index in (0, 1, 1, 10, 12):
        _ = data[index]
    assert len(draws) == 13


def test_advance_state_is_as_many_draws():
    one, other = PRNGResampleDataset(range(100)), PRNGResampleDataset(range(100))
    one.advance_state(5)
    for _ in range(5):
        other.rand_idx()
    assert one.rand_idx() == other.rand_idx() == expected(42, 100, 6)[5]


@pytest.mark.parametrize("index", [-1, 10])
def test_index_outside(index):
    with pytest.raises(IndexError, match=f"Index {index} out of bounds for dataset of length 10"):
        PRNGResampleDataset(range(10))[index]


def test_empty():
    assert len(PRNGResampleDataset([])) == 0
    with pytest.raises(ValueError, match="3 asked for, but the dataset is empty"):
        PRNGResampleDataset([], num_samples=3)


def test_star_import():
    names = {}
    exec("from bionemo.core.data.resamplers import *", names)
    assert names["PRNGResampleDataset"] is PRNGResampleDataset
