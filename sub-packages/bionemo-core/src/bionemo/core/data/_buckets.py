# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Ranges of sizes ("buckets") with enough samples in each and little spread inside."""

from typing import NamedTuple

import torch
from torch import Tensor

from bionemo.core.data.size_aware_sampler import ArgumentTypeError
from bionemo.core.errors import ConfigError, DataError


__all__ = ("Buckets", "create_buckets")


class Buckets(NamedTuple):
    """Left-closed, right-open ranges of sizes.

    Attributes:
        bucket_boundaries: [K + 1] integers, ascending; bucket k holds sizes from entry k up to, not including, k + 1.
        bucket_sizes: [K] int64, number of samples in each bucket.
    """

    bucket_boundaries: Tensor
    bucket_sizes: Tensor


def create_buckets(sizes: Tensor, max_width: int, min_bucket_count: int) -> Buckets:
    """Grow buckets from the smallest size up.

    A bucket ends as soon as it has enough samples, or where the next size lies too far from its start; a gap before
    the next size is filled with empty buckets of the full width.

    Args:
        sizes: [N] integer tensor, size of each sample.
        max_width: Sizes that lie this far from the start of a bucket belong to a later one.
        min_bucket_count: A bucket with this many samples is closed.

    Raises:
        TypeError: ``sizes`` is no tensor.
        ValueError: ``sizes`` is empty, not 1-D or not integer, or another argument is no positive integer.
    """
    if not torch.is_tensor(sizes):
        raise ArgumentTypeError(f"sizes should be a torch tensor, but got sizes={sizes}")
    if sizes.ndim != 1:
        raise DataError(f"sizes should be a 1D tensor, but got sizes with shape {tuple(sizes.shape)}")
    if sizes.is_floating_point() or sizes.is_complex() or sizes.dtype == torch.bool:
        raise DataError(f"sizes should contain only integers, but got sizes with dtype {sizes.dtype}")
    if len(sizes) == 0:
        raise DataError("sizes should not be empty")
    for name, value in (("max_width", max_width), ("min_bucket_count", min_bucket_count)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} should be a positive integer but got {name}={value}")
    distinct, counts = torch.unique(sizes, return_counts=True)
    boundaries = [int(distinct[0])]
    bucket_sizes = [0]
    for size, count in zip(distinct.tolist(), counts.tolist(), strict=True):
        if bucket_sizes[-1] >= min_bucket_count or size - boundaries[-1] >= max_width:
            # Close the bucket at the next size, or at its full width where that comes first.
            boundaries.append(min(size, boundaries[-1] + max_width))
            bucket_sizes.append(0)
            while size - boundaries[-1] >= max_width:
                boundaries.append(boundaries[-1] + max_width)
                bucket_sizes.append(0)
        bucket_sizes[-1] += count
    boundaries.append(int(distinct[-1]) + 1)
    return Buckets(torch.tensor(boundaries), torch.tensor(bucket_sizes))
