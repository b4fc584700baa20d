# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import threading

import numpy as np
import pytest

from bionemo.core.buffers import BufferPool


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back_when_nothing_holds_it():
    pool = BufferPool()
    first = pool.empty(100_000, np.float32)
    kept = address(first)
    del first
    assert address(pool.empty(90_000, np.float32)) == kept


def test_memory_that_an_array_a_view_or_a_tensor_holds_is_left_alone():
    pool = BufferPool()
    array = pool.empty(100_000, np.float32)
    torch = pytest.importorskip("torch")
    view, tensor = array[5:10], torch.from_numpy(pool.empty(100_000, np.int32))
    held = {address(array), tensor.data_ptr()}
    tensor_view = tensor[3:]
    del array, tensor
    others = [pool.empty(100_000, np.float32) for _ in range(5)]
    assert len({address(other) for other in others}) == 5
    assert not held & {address(other) for other in others}
    del view, tensor_view
    assert {address(pool.empty(100_000, np.float32)), address(others[0])} & held


def test_small_and_huge_arrays_come_from_the_system():
    pool = BufferPool(max_bytes=2**20)
    assert pool.empty(3, np.uint8).base is None
    assert pool.empty(2**20, np.uint8).base is None
    assert pool.empty(0, np.uint8).shape == (0,)


def test_the_pool_stays_within_its_limit():
    pool = BufferPool(max_bytes=2**20)
    held = [pool.empty(2**size - 5, np.uint8) for size in range(8, 24) for _ in range(40)]
    assert len({address(array) for array in held}) == len(held)
    assert sum(room.nbytes for rooms in pool._kept.values() for room in rooms) <= 2**20


def test_arrays_kept_for_long_do_not_fill_the_pool():
    pool = BufferPool(max_bytes=2**20)
    held = [pool.empty(2**16, np.uint8) for _ in range(100)]
    assert len({address(array) for array in held}) == 100
    passing = pool.empty(2**16, np.uint8)
    kept = address(passing)
    del passing
    assert address(pool.empty(2**16, np.uint8)) == kept


def test_threads_never_share_memory():
    pool, clashes = BufferPool(), []

    def work(mark):
        for _ in range(300):
            array = pool.empty(70_000, np.uint8)
            array[:] = mark
            if (array != mark).any():
                clashes.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
