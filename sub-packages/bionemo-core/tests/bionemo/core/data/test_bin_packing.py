# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bionemo.core.data.bin_packing import pack_best_fit


def as_lists(packs):
    return [pack.tolist() for pack in packs]


def test_each_goes_where_the_least_room_is_left():
    # 6 and 7 open packs 0 and 1; 3 fits best into pack 1 (room 3), 4 into pack 0, 5 opens pack 2.
    assert as_lists(pack_best_fit(np.array([6, 7, 3, 4, 5]), 10)) == [[0, 3], [1, 2], [4]]


def test_limit_of_sequences():
    assert as_lists(pack_best_fit(np.ones(5, dtype=np.int64), 10, max_sequences=2)) == [[0, 1], [2, 3], [4]]
    assert as_lists(pack_best_fit(np.ones(2, dtype=np.int64), 10, max_sequences=1)) == [[0], [1]]


def test_nothing_to_pack():
    assert pack_best_fit(np.zeros(0, dtype=np.int64), 10) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1), st.integers(30, 60), st.none() | st.integers(1, 5))
def test_all_are_packed_once_within_the_limits(lengths, max_tokens, max_sequences):
    lengths = np.array(lengths)
    packs = pack_best_fit(lengths, max_tokens, max_sequences=max_sequences)
    assert sorted(np.concatenate(packs).tolist()) == list(range(len(lengths)))
    assert all(lengths[pack].sum() <= max_tokens for pack in packs)
    assert all(len(pack) <= (max_sequences or len(lengths)) for pack in packs)
    assert all(pack.tolist() == sorted(pack.tolist(), key=lambda i: (-lengths[i], i)) for pack in packs)
    if max_sequences is None:  # best fit never leaves two packs at most half full
        assert sum(lengths[pack].sum() * 2 <= max_tokens for pack in packs) <= 1


@pytest.mark.parametrize("max_tokens", [1024, 4096])
def test_packs_need_hardly_more_than_the_least_possible(max_tokens):
    lengths = np.clip(np.random.default_rng(1).lognormal(5.6, 0.65, 20_000).astype(np.int64), 10, 1024)
    assert len(pack_best_fit(lengths, max_tokens)) < 1.03 * lengths.sum() / max_tokens
