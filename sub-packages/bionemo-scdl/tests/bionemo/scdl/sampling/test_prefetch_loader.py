# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import threading

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from bionemo.scdl.sampling.block_shuffle import BlockShuffleSampler
from bionemo.scdl.sampling.prefetch_loader import PrefetchLoader
from bionemo.scdl.util.collate import CsrCollate


@pytest.fixture
def dataset(make_archive):
    matrix = sp.random(200, 50, 0.3, "csr", np.float32, random_state=np.random.default_rng(0))
    return make_archive(matrix)


def make_loader(dataset, **options):
    sampler = BlockShuffleSampler(dataset, batch_size=9, block_size=4, pool_size=16)
    return PrefetchLoader(dataset, sampler, CsrCollate(50), **options)


@pytest.mark.parametrize(("num_threads", "rows_per_task"), [(1, 1), (3, 30), (2, 1000)])
def test_batches_come_in_the_sampler_s_order(dataset, num_threads, rows_per_task):
    expected = [
        CsrCollate(50)(dataset.__getitems__(rows)).to_dense()
        for rows in BlockShuffleSampler(dataset, batch_size=9, block_size=4, pool_size=16)
    ]
    loader = make_loader(dataset, num_threads=num_threads, rows_per_task=rows_per_task)
    got = [batch.to_dense() for batch in loader]
    assert len(got) == len(loader) == len(expected)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(got, expected, strict=True))


def test_only_so_many_batches_are_prepared_ahead(dataset):
    loader = make_loader(dataset, num_threads=2, rows_per_task=1)
    iterator = iter(loader)
    for handed_out in (1, 2, 3):
        next(iterator)
        assert loader.batch_sampler.position == handed_out + 2
    iterator.close()
    assert loader.state_dict() == {"epoch": 0, "position": 3}


def test_stopping_and_resuming_loses_and_repeats_nothing(dataset):
    whole = [batch.to_dense() for batch in make_loader(dataset)]
    for stop in (1, 7, len(whole) - 1, len(whole)):
        loader, taken = make_loader(dataset, rows_per_task=27), []
        for batch in loader:
            taken.append(batch.to_dense())
            if len(taken) == stop:
                state = loader.state_dict()
                break
        resumed = make_loader(dataset)
        resumed.load_state_dict(state)
        if stop < len(whole):
            taken += [batch.to_dense() for batch in resumed]
        assert len(taken) == len(whole)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(taken, whole, strict=True))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scdl-prefetch")]


def test_errors_of_the_threads_reach_the_caller(dataset):
    loader = PrefetchLoader(dataset, [[0], [999]], CsrCollate(50), rows_per_task=1)
    iterator = iter(loader)
    assert next(iterator).shape == (1, 50)
    with pytest.raises(IndexError, match="Row index 999 is out of bounds"):
        next(iterator)
    with pytest.raises(ValueError, match="list keeps no state"):
        loader.state_dict()
    with pytest.raises(ValueError, match="num_threads is 0"):
        make_loader(dataset, num_threads=0)
