# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bionemo.scdl.sampling.block_shuffle import BlockShuffleSampler


def make(num_rows=1000, **options):
    return BlockShuffleSampler(num_rows, **({"batch_size": 7, "block_size": 8, "pool_size": 64} | options))


@given(
    num_rows=st.integers(0, 400),
    batch_size=st.integers(1, 50),
    block_size=st.integers(1, 20),
    blocks_per_pool=st.integers(1, 5),
    epoch=st.integers(0, 3),
)
@settings(max_examples=100, deadline=None)
def test_every_row_comes_once_an_epoch(num_rows, batch_size, block_size, blocks_per_pool, epoch):
    sampler = make(num_rows, batch_size=batch_size, block_size=block_size, pool_size=block_size * blocks_per_pool)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert sorted(row for batch in batches for row in batch) == list(range(num_rows))
    assert len(batches) == len(sampler)
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_rows_are_shuffled_within_pools_and_blocks_among_pools():
    rows = np.concatenate(list(make()))
    for start in range(0, 640, 64):
        blocks = set((rows[start : start + 64] // 8).tolist())
        assert len(blocks) <= 9  # eight, or nine around the short last block
    assert sorted(rows[:64]) != list(range(rows[:64].min(), rows[:64].min() + 64))
    assert (np.diff(rows[:64]) == 1).mean() < 0.2


def test_the_plan_depends_on_seed_and_epoch_alone():
    assert list(make()) == list(make())
    sampler = make()
    first, second = list(sampler), list(sampler)
    assert first != second
    assert second == [sampler.global_batch(1, position).tolist() for position in range(len(sampler))]
    assert list(make(seed=7)) != first
    np.random.default_rng(0)
    assert make().global_batch(3, 5).tolist() == make(rank=2, world_size=4).global_batch(3, 5).tolist()


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_plan(world_size):
    whole = list(make())
    ranks = [list(make(rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert len({len(batches) for batches in ranks}) == 1
    merged = [batch for step in zip(*ranks, strict=True) for batch in step]
    assert merged == whole[: len(merged)]
    assert len(whole) - len(merged) < world_size
    uneven = [list(make(rank=rank, world_size=world_size, drop_uneven=False)) for rank in range(world_size)]
    assert sorted(map(tuple, whole)) == sorted(tuple(batch) for batches in uneven for batch in batches)
    assert [len(batches) for batches in uneven] == [
        len(make(rank=rank, world_size=world_size, drop_uneven=False)) for rank in range(world_size)
    ]


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (2, 3), (3, 1), (1, 4)])
def test_resuming_in_the_middle_continues_exactly_on_any_number_of_ranks(before, after):
    plan = [make().global_batch(epoch, p).tolist() for epoch in range(2) for p in range(make().batches_per_epoch)]
    steps = 5
    samplers = [make(rank=rank, world_size=before, endless=True) for rank in range(before)]
    iterators = [iter(sampler) for sampler in samplers]
    taken = [next(iterator) for _ in range(steps) for iterator in iterators]
    assert taken == plan[: steps * before]
    (state,) = {tuple(sampler.state_dict().items()) for sampler in samplers}
    resumed = [make(rank=rank, world_size=after, endless=True) for rank in range(after)]
    for sampler in resumed:
        sampler.load_state_dict(dict(state))
    iterators = [iter(sampler) for sampler in resumed]
    rest = [next(iterator) for _ in range((len(plan) - len(taken)) // after) for iterator in iterators]
    assert rest == plan[len(taken) : len(taken) + len(rest)]


def test_epoch_by_epoch_resume():
    sampler = make()
    whole = list(sampler) + list(sampler)
    again, seen = make(), []
    for batch in again:
        seen.append(batch)
        if len(seen) == 20:
            break
    state = again.state_dict()
    assert state == {"epoch": 0, "position": 20}
    resumed = make()
    resumed.load_state_dict(state)
    assert seen + list(resumed) + list(resumed) == whole
    assert resumed.state_dict() == {"epoch": 2, "position": 0}


def test_batches_taken_ahead_can_be_taken_back():
    for endless in (False, True):
        sampler = make(endless=endless, world_size=2)
        iterator = iter(sampler)
        for _ in range(10):
            next(iterator)
        assert sampler.state_dict(ahead=3) == {"epoch": 0, "position": 14}
    sampler = make(world_size=2)
    list(sampler)
    assert sampler.state_dict() == {"epoch": 1, "position": 0}
    assert sampler.state_dict(ahead=2) == {"epoch": 0, "position": 2 * len(sampler) - 4}
    endless = make(endless=True)
    iterator = iter(endless)
    for _ in range(endless.batches_per_epoch + 1):
        next(iterator)
    assert endless.state_dict(ahead=3) == {"epoch": 0, "position": endless.batches_per_epoch - 2}


def test_impossible_settings():
    for options, message in (
        ({"batch_size": 0}, "batch_size is 0"),
        ({"rank": 2, "world_size": 2}, "rank is 2"),
        ({"pool_size": 65}, "pool_size is 65 and block_size 8"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**options)
    with pytest.raises(ValueError, match="Was it saved with another batch size or archive"):
        make().load_state_dict({"epoch": 0, "position": 10_000})


def test_blocks_are_read_ahead_once_each_before_they_are_used(make_archive):
    import scipy.sparse as sp

    dataset = make_archive(sp.csr_matrix(np.ones((300, 3), np.float32)))
    calls = []
    dataset.prefetch_rows = lambda start, stop: calls.append((start, stop))
    sampler = BlockShuffleSampler(dataset, batch_size=10, block_size=8, pool_size=32)
    for batch in sampler:
        ready = {row for start, stop in calls for row in range(start, stop)}
        assert set(batch) <= ready
    assert len(calls) == len(set(calls)) == 38
    assert len(ready) == 300
    calls.clear()
    sampler.load_state_dict({"epoch": 1, "position": 20})
    for batch in sampler:
        ready = {row for start, stop in calls for row in range(start, stop)}
        assert set(batch) <= ready
    assert len(calls) < 20
