# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, SequentialSampler

from bionemo.core.data.size_aware_batching import SizeAwareBatchSampler, size_aware_batching
from bionemo.core.errors import BionemoError


def identity(size):
    return size


def test_batches_in_order_with_a_warning_for_what_is_too_large():
    infos, warnings = [], []
    batches = list(size_aware_batching([3, 4, 3, 11, 10, 1, 2], identity, 10, None, infos.append, warnings.append))
    assert batches == [[3, 4, 3], [10], [1, 2]]
    assert warnings == ["Item of size 11 exceeds max_total_size 10 and is left out: 11"]
    assert infos == ["6 items in 3 batches of a summed size up to 10; 1 items left out."]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 12)), st.integers(1, 12))
def test_nothing_is_lost_and_batches_are_as_long_as_they_can_be(sizes, limit):
    batches = list(size_aware_batching(sizes, identity, limit))
    assert [size for batch in batches for size in batch] == [size for size in sizes if size <= limit]
    assert all(batch and sum(batch) <= limit for batch in batches)
    assert all(sum(one) + other[0] > limit for one, other in itertools.pairwise(batches))


def test_collate():
    assert list(size_aware_batching([1, 2, 3], identity, 3.5, collate_fn=sum)) == [3, 3]


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"^sizeof must be a callable$"):
        list(size_aware_batching([1], 5, 3))
    with pytest.raises(RuntimeError, match=r"^sizeof raises error at data=x: can only concatenate str") as caught:
        list(size_aware_batching([1, "x"], lambda data: data + 1, 3))
    assert isinstance(caught.value, BionemoError)


def test_sampler_gives_the_same_batches_on_every_pass():
    sizes = [5, 5, 6, 20, 4, 1]
    sampler = SizeAwareBatchSampler(SequentialSampler(sizes), sizes.__getitem__, 10)
    assert list(sampler) == list(sampler) == [[0, 1], [2, 4], [5]]
    loader = DataLoader(sizes, batch_sampler=sampler, collate_fn=list)
    assert list(loader) == [[5, 5], [6, 4], [1]]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sampler": "abc"}, TypeError, "sampler should be an instance of torch.utils.data.Sampler or Iterable"),
        ({"sampler": 3}, TypeError, "sampler should be an instance of torch.utils.data.Sampler or Iterable"),
        ({"sizeof": 3}, TypeError, "sizeof must be a callable"),
        ({"max_total_size": "3"}, ValueError, "max_total_size should be int or float but got <class 'str'>"),
        ({"max_total_size": 0}, ValueError, "max_total_size should be above 0 but got 0"),
        ({"max_total_size": float("nan")}, ValueError, "max_total_size should be above 0 but got nan"),
    ],
)
def test_wrong_sampler_arguments(changes, error, message):
    with pytest.raises(error) as caught:
        SizeAwareBatchSampler(**{"sampler": range(3), "sizeof": identity, "max_total_size": 3, **changes})
    assert str(caught.value).startswith(message)
