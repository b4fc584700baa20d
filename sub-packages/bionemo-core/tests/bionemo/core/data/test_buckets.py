# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bionemo.core.data.size_aware_batching import create_buckets


@pytest.mark.parametrize(
    ("sizes", "max_width", "min_bucket_count", "boundaries", "counts"),
    [
        ([4] * 2 + [5] * 6 + [9] + [30] * 3, 6, 4, [4, 9, 15, 21, 27, 31], [8, 1, 0, 0, 3]),
        ([7], 5, 1, [7, 8], [1]),
        ([1, 2, 3, 4], 100, 2, [1, 3, 5], [2, 2]),
        ([1, 2, 3, 4], 2, 100, [1, 3, 5], [2, 2]),
        ([1, 2, 3, 4], 100, 100, [1, 5], [4]),
        ([3, 1, 2, 1], 1, 1, [1, 2, 3, 4], [2, 1, 1]),
    ],
)
def test_buckets(sizes, max_width, min_bucket_count, boundaries, counts):
    buckets = create_buckets(torch.tensor(sizes), max_width, min_bucket_count)
    assert buckets.bucket_boundaries.tolist() == boundaries
    assert buckets.bucket_sizes.tolist() == counts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1), st.integers(1, 20), st.integers(1, 8))
def test_buckets_cover_all_sizes_and_are_no_wider_than_asked(sizes, max_width, min_bucket_count):
    boundaries, counts = create_buckets(torch.tensor(sizes), max_width, min_bucket_count)
    assert boundaries[0] == min(sizes)
    assert boundaries[-1] == max(sizes) + 1
    widths = boundaries.diff()
    assert 1 <= widths.min()
    assert widths.max() <= max_width
    expected = torch.histogram(torch.tensor(sizes).double(), bins=boundaries.double())[0]
    expected[-1] = sum(boundaries[-2] <= size for size in sizes)
    assert counts.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("sizes", "max_width", "min_bucket_count", "error", "message"),
    [
        ([1, 2], 1, 1, TypeError, "sizes should be a torch tensor, but got sizes=[1, 2]"),
        (torch.ones(2, 2, dtype=torch.int64), 1, 1, ValueError, "sizes should be a 1D tensor"),
        (
            torch.ones(2),
            1,
            1,
            ValueError,
            "sizes should contain only integers, but got sizes with dtype torch.fl",
        ),
        (torch.ones(0, dtype=torch.int64), 1, 1, ValueError, "sizes should not be empty"),
        (torch.tensor([1]), 0, 1, ValueError, "max_width should be a positive integer but got max_width=0"),
        (torch.tensor([1]), 1.5, 1, ValueError, "max_width should be a positive integer but got max_width=1.5"),
        (torch.tensor([1]), 1, -1, ValueError, "min_bucket_count should be a positive integer but got min_bucket_c"),
    ],
)
def test_wrong_arguments(sizes, max_width, min_bucket_count, error, message):
    with pytest.raises(error) as caught:
        create_buckets(sizes, max_width, min_bucket_count)
    assert str(caught.value).startswith(message)
