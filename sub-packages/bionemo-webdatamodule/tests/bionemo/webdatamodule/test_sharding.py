# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The plan shares out every sample, for any counts, ranks and workers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bionemo.core.errors import ConfigError
from bionemo.webdatamodule._sharding import Piece, Reader, plan, shard_order


COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=8)


def parts_of(counts, order, world_size, num_workers, remainder):
    """Samples as (shard, index), per rank and worker."""
    return [
        [
            [
                (piece.shard, index)
                for piece in plan(
                    counts,
                    order,
                    Reader(rank=rank, world_size=world_size, worker=worker, num_workers=num_workers),
                    remainder,
                )
                for index in range(piece.start, piece.stop)
            ]
            for worker in range(num_workers)
        ]
        for rank in range(world_size)
    ]


@settings(max_examples=150, deadline=None)
@given(COUNTS, st.integers(1, 5), st.integers(1, 4), st.sampled_from(["pad", "drop", "uneven"]), st.integers(0, 99))
def test_every_sample_is_shared_out(counts, world_size, num_workers, remainder, epoch):
    total = sum(counts)
    if remainder == "drop" and 0 < total < world_size:
        return
    order = shard_order(len(counts), seed=3, epoch=epoch, turn=0).tolist()
    row = [(shard, index) for shard in order for index in range(counts[shard])]
    ranks = parts_of(counts, order, world_size, num_workers, remainder)
    read = [sample for rank in ranks for worker in rank for sample in worker]
    lengths = [[len(worker) for worker in rank] for rank in ranks]
    if remainder == "uneven":
        assert read == row
        assert max(map(sum, lengths)) - min(map(sum, lengths)) <= 1
        return
    assert lengths == [lengths[0]] * world_size  # so every rank has the same number of batches
    if remainder == "drop":
        assert read == row[: total - total % world_size]
    elif total:
        num_repeated = -total % world_size
        assert read == (row * (1 + num_repeated))[: total + num_repeated]


def test_a_worker_reads_one_stretch():
    reader = Reader(rank=1, world_size=2, worker=0, num_workers=2)
    assert plan([4, 4, 4], [2, 0, 1], reader, "pad") == [Piece(0, 2, 4), Piece(1, 0, 1)]


def test_workers_beyond_the_shards_get_nothing():
    parts = parts_of([6, 6], [0, 1], 1, 3, "pad")
    assert [len(part) for part in parts[0]] == [6, 6, 0]


def test_orders_follow_from_seed_epoch_and_turn():
    def order(**change):
        return tuple(shard_order(20, **{"seed": 1, "epoch": 2, "turn": 0} | change))

    assert order() == order()
    assert len({order(), order(seed=2), order(epoch=3), order(turn=1)}) == 4
    assert sorted(order()) == list(range(20))


def test_nothing_left_after_dropping():
    with pytest.raises(ConfigError, match="remainder='drop' with 2 samples and 3 ranks leaves nothing"):
        plan([2], [0], Reader(world_size=3), "drop")
