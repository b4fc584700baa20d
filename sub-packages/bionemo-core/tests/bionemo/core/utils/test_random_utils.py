# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest

from bionemo.core.utils.random_utils import get_seed_from_rng, random_numpy_context


def test_context_seeds_and_restores():
    np.random.seed(1)  # noqa: NPY002 the global state is under test
    expected = np.random.rand(4)  # noqa: NPY002 see above
    np.random.seed(1)  # noqa: NPY002 see above
    first = np.random.rand(2)  # noqa: NPY002 see above
    with random_numpy_context(5):
        inside = np.random.rand(3)  # noqa: NPY002 see above
    rest = np.random.rand(2)  # noqa: NPY002 see above
    np.testing.assert_array_equal(np.concatenate([first, rest]), expected)
    np.testing.assert_array_equal(inside, np.random.RandomState(5).rand(3))


def test_context_restores_after_an_exception():
    np.random.seed(1)  # noqa: NPY002 see above
    expected = np.random.rand(1)  # noqa: NPY002 see above
    np.random.seed(1)  # noqa: NPY002 see above
    with pytest.raises(RuntimeError, match="stop"), random_numpy_context():
        raise RuntimeError("stop")
    np.testing.assert_array_equal(np.random.rand(1), expected)  # noqa: NPY002 see above


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_seeds_cover_the_type_and_take_one_draw(dtype):
    rng = np.random.default_rng(3)
    seeds = [get_seed_from_rng(rng, dtype) for _ in range(2000)]
    assert all(type(seed) is int for seed in seeds)
    assert min(seeds) >= 0
    assert np.iinfo(dtype).max * 0.98 < max(seeds) < np.iinfo(dtype).max
    other = np.random.default_rng(3)
    assert [int(other.integers(np.iinfo(dtype).max, dtype=dtype)) for _ in range(2000)] == seeds
