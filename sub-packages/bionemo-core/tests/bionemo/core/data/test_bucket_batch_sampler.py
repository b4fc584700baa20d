# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from bionemo.core.data.size_aware_batching import BucketBatchSampler, SizeAwareBatchSampler


SIZES = torch.tensor([12, 1, 5, 7, 1, 6, 11, 2, 5, 3])


def build(**changes) -> BucketBatchSampler:
    return BucketBatchSampler(
        **{
            "sizes": SIZES,
            "bucket_boundaries": torch.tensor([10, 1, 5, 20]),
            "base_batch_sampler_class": BatchSampler,
            "base_batch_sampler_shared_kwargs": {"drop_last": False},
            "base_batch_sampler_individual_kwargs": {"batch_size": [3, 2, 1]},
            **changes,
        }
    )


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_shuffling_buckets_ascend():
    sampler = build(shuffle=False)
    assert list(sampler) == [[1, 4, 7], [9], [2, 3], [5, 8], [0], [6]]
    assert len(sampler) == 6
    assert sampler.bucket_sizes.tolist() == [4, 4, 2]
    assert sampler.bucket_element_indices == [[1, 4, 7, 9], [2, 3, 5, 8], [0, 6]]
    assert (sampler.num_buckets, sampler.num_samples, len(sampler.base_batch_samplers)) == (3, 10, 3)


def test_shuffled_batches_stay_in_their_buckets_and_hold_everything_once():
    sampler = build(generator=seeded(0))
    passes = [list(sampler) for _ in range(20)]
    for batches in passes:
        assert sorted(idx for batch in batches for idx in batch) == list(range(10))
        for batch in batches:
            assert len({int(SIZES[idx] >= 5) + int(SIZES[idx] >= 10) for idx in batch}) == 1
    assert len({str(batches) for batches in passes}) > 15
    assert sampler.bucket_element_indices == [[1, 4, 7, 9], [2, 3, 5, 8], [0, 6]]


def test_same_generator_seed_gives_the_same_order_and_global_state_is_left_alone():
    state = torch.get_rng_state()
    orders = [[list(sampler), list(sampler)] for sampler in (build(generator=seeded(seed)) for seed in (3, 3, 4))]
    assert orders[0] == orders[1] != orders[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_generator_the_global_seed_decides():
    orders = []
    for _ in range(2):
        torch.manual_seed(11)
        orders.append(list(build()))
    assert orders[0] == orders[1]


def test_next_bucket_is_drawn_in_proportion_to_what_is_left():
    sizes = torch.cat([torch.full((90,), 1), torch.full((10,), 2)])
    sampler = BucketBatchSampler(
        sizes, torch.tensor([1, 2, 3]), BatchSampler, {"batch_size": 1, "drop_last": False}, generator=seeded(0)
    )
    first = [next(iter(sampler))[0] < 90 for _ in range(1000)]
    assert abs(sum(first) / 1000 - 0.9) < 0.05  # five standard deviations
    # Each sample is then equally likely to come last; with weights that stay one of the few would too often.
    few = BucketBatchSampler(
        sizes[72:92], torch.tensor([1, 2, 3]), BatchSampler, {"batch_size": 1, "drop_last": False}, generator=seeded(0)
    )
    last = [list(few)[-1][0] >= 18 for _ in range(400)]
    assert abs(sum(last) / 400 - 0.1) < 0.075  # five standard deviations


def test_what_a_base_sampler_leaves_out_ends_its_bucket():
    dropping = build(base_batch_sampler_shared_kwargs={"drop_last": True}, generator=seeded(0))
    assert sorted(len(batch) for batch in dropping) == [1, 1, 2, 2, 3]
    assert len(dropping) == 5


def test_size_aware_base_sampler():
    sampler = build(
        base_batch_sampler_class=SizeAwareBatchSampler,
        base_batch_sampler_shared_kwargs={"sizeof": SIZES.tolist().__getitem__, "max_total_size": 11},
        base_batch_sampler_individual_kwargs=None,
        generator=seeded(1),
    )
    batches = list(sampler)
    assert max(int(SIZES[batch].sum()) for batch in batches) <= 11
    assert sorted(idx for batch in batches for idx in batch) == [1, 2, 3, 4, 5, 6, 7, 8, 9]  # 0 has size 12


def test_data_loader():
    loader = DataLoader(SIZES, batch_sampler=build(shuffle=False))
    assert [batch.tolist() for batch in loader][:2] == [[1, 1, 2], [3]]


def test_outside_the_buckets():
    with pytest.warns(UserWarning, match="^4 elements are outside the buckets provided and will be skipped$"):
        sampler = build(
            bucket_boundaries=torch.tensor([2, 11]), base_batch_sampler_individual_kwargs={"batch_size": [2]}
        )
    assert sampler.num_samples == 6
    with pytest.raises(RuntimeError, match=r"^The sizes of all elements in the dataset are outside the bucket ranges"):
        build(bucket_boundaries=torch.tensor([100, 200]), base_batch_sampler_individual_kwargs=None)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sizes": [1]}, TypeError, "sizes should be a torch tensor, but got sizes=[1]"),
        ({"sizes": torch.ones(2, 2)}, ValueError, "sizes should be a 1D tensor, but got sizes with shape (2, 2)"),
        ({"sizes": torch.ones(0)}, ValueError, "sizes should have at least 1 entries, but got 0"),
        ({"sizes": torch.tensor([True])}, ValueError, "sizes should contain only real numbers"),
        ({"bucket_boundaries": torch.tensor([1])}, ValueError, "bucket_boundaries should have at least 2 entries"),
        ({"bucket_boundaries": torch.tensor([1, 1])}, ValueError, "bucket_boundaries should not repeat a value"),
        ({"base_batch_sampler_class": list}, TypeError, "base_batch_sampler_class should be a class derived from"),
        (
            {"base_batch_sampler_class": RandomSampler([1])},
            TypeError,
            "base_batch_sampler_class should be a class derived from",
        ),
        ({"base_batch_sampler_shared_kwargs": [1]}, TypeError, "base_batch_sampler_shared_kwargs should be a dictio"),
        ({"base_batch_sampler_shared_kwargs": {1: 2}}, TypeError, "base_batch_sampler_shared_kwargs should have only"),
        (
            {"base_batch_sampler_individual_kwargs": {"batch_size": [1, 2]}},
            ValueError,
            "base_batch_sampler_individual_kwargs should have 3 values for each argument, one for each bucket, but "
            "got 2 for batch_size",
        ),
        ({"shuffle": 1}, TypeError, "shuffle should be a boolean value, but got shuffle=1"),
        ({"generator": 1}, TypeError, "generator should be a torch.Generator, but got generator=1"),
    ],
)
def test_wrong_arguments(changes, error, message):
    with pytest.raises(error) as caught:
        build(**changes)
    assert str(caught.value).startswith(message)
