# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of samples of like size: each batch comes from one bucket."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler

from bionemo.core.data.size_aware_sampler import ArgumentTypeError
from bionemo.core.errors import ConfigError, DataError


__all__ = ("BucketBatchSampler",)


class OutsideBucketsError(DataError, RuntimeError):
    """No sample falls into any bucket."""


class BucketBatchSampler(Sampler[list[int]]):
    """Sorts samples into buckets by size and takes each batch from one bucket, made by a batch sampler of its own.

    Args:
        sizes: [N] tensor, size of each sample.
        bucket_boundaries: [K + 1] tensor; sorted, each neighboring two bound a left-closed, right-open bucket.
        base_batch_sampler_class: Makes the batches of a bucket: called with the list of the bucket's sample indices,
            the shared and the bucket's individual arguments. ``torch.utils.data.BatchSampler``, for example.
        base_batch_sampler_shared_kwargs: Arguments for every bucket's sampler.
        base_batch_sampler_individual_kwargs: Arguments that differ: name to a sequence of K values.
        shuffle: Whether indices are shuffled inside their buckets and each next bucket is drawn with a probability in
            proportion to the samples left in it; else buckets come in ascending order.
        generator: Source of the draws; one seeded from torch's global generator at each pass unless given.

    Attributes:
        bucket_sizes: [K] int64 tensor, samples in each bucket.
        bucket_element_indices: K lists of the sample indices in each bucket.
        num_buckets: K.
        num_samples: Samples inside the buckets.
        base_batch_samplers: K batch samplers.

    Raises:
        TypeError: An argument has another type.
        ValueError: An argument has another shape, length or value.
        RuntimeError: No sample falls into any bucket.
    """

    def __init__(
        self,
        sizes: Tensor,
        bucket_boundaries: Tensor,
        base_batch_sampler_class: Callable[..., Sampler[list[int]]],
        base_batch_sampler_shared_kwargs: Mapping[str, Any] | None = None,
        base_batch_sampler_individual_kwargs: Mapping[str, Sequence[Any]] | None = None,
        shuffle: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        _check_numbers("sizes", sizes, at_least=1)
        _check_numbers("bucket_boundaries", bucket_boundaries, at_least=2)
        boundaries = torch.unique(bucket_boundaries)  # sorted
        if len(boundaries) != len(bucket_boundaries):
            raise DataError(f"bucket_boundaries should not repeat a value, but got {bucket_boundaries.tolist()}")
        shared = _checked_kwargs("base_batch_sampler_shared_kwargs", base_batch_sampler_shared_kwargs)
        individual = _checked_kwargs("base_batch_sampler_individual_kwargs", base_batch_sampler_individual_kwargs)
        if not isinstance(base_batch_sampler_class, type) or not issubclass(base_batch_sampler_class, Sampler):
            raise ArgumentTypeError(
                "base_batch_sampler_class should be a class derived from torch.utils.data.Sampler, "
                f"but got {base_batch_sampler_class}"
            )
        if not isinstance(shuffle, bool):
            raise ArgumentTypeError(f"shuffle should be a boolean value, but got shuffle={shuffle}")
        if generator is not None and not isinstance(generator, torch.Generator):
            raise ArgumentTypeError(f"generator should be a torch.Generator, but got generator={generator}")
        self.num_buckets = len(boundaries) - 1
        for name, values in individual.items():
            if len(values) != self.num_buckets:
                raise ConfigError(
                    f"base_batch_sampler_individual_kwargs should have {self.num_buckets} values for each argument, "
                    f"one for each bucket, but got {len(values)} for {name}"
                )
        # Entry 0 are the samples below the first boundary, the last one those from the last boundary up.
        bucket_of_N = torch.bucketize(sizes, boundaries, right=True)
        counts = torch.bincount(bucket_of_N, minlength=self.num_buckets + 2)
        self.bucket_sizes = counts[1:-1]
        self.num_samples = int(self.bucket_sizes.sum())
        if self.num_samples == 0:
            raise OutsideBucketsError(
                "The sizes of all elements in the dataset are outside the bucket ranges provided"
            )
        if self.num_samples < len(sizes):
            num_outside = len(sizes) - self.num_samples
            warnings.warn(f"{num_outside} elements are outside the buckets provided and will be skipped", stacklevel=2)
        self.sizes = sizes
        self.bucket_boundaries = boundaries
        self.shuffle = shuffle
        self.generator = generator
        by_bucket = torch.argsort(bucket_of_N, stable=True).split(counts.tolist())[1:-1]
        self.bucket_element_indices: list[list[int]] = [indices.tolist() for indices in by_bucket]
        # The samplers read these lists; a pass that shuffles puts its order into them.
        build: Callable[..., Any] = base_batch_sampler_class
        self._orders = [list(indices) for indices in self.bucket_element_indices]
        self.base_batch_samplers: list[Any] = [
            build(order, **shared, **{name: values[k] for name, values in individual.items()})
            for k, order in enumerate(self._orders)
        ]

    def __len__(self) -> int:
        """Batches in one pass."""
        return sum(len(sampler) for sampler in self.base_batch_samplers)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of one pass; passes must not overlap."""
        if not self.shuffle:
            for sampler in self.base_batch_samplers:
                yield from sampler
            return
        generator = self.generator
        if generator is None:
            generator = torch.Generator()
            generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_().item()))
        for order, indices in zip(self._orders, self.bucket_element_indices, strict=True):
            order[:] = [indices[place] for place in torch.randperm(len(indices), generator=generator).tolist()]
        batches = [iter(sampler) for sampler in self.base_batch_samplers]
        num_left = self.bucket_sizes.double()
        while num_left.sum() > 0:
            bucket = int(torch.multinomial(num_left, 1, generator=generator))
            batch = next(batches[bucket], None)
            if batch is None:  # the rest was left out, by drop_last for example
                num_left[bucket] = 0
            else:
                yield batch
                num_left[bucket] = max(0.0, float(num_left[bucket]) - len(batch))


def _check_numbers(name: str, value: Any, *, at_least: int) -> None:
    if not torch.is_tensor(value):
        raise ArgumentTypeError(f"{name} should be a torch tensor, but got {name}={value}")
    if value.ndim != 1:
        raise DataError(f"{name} should be a 1D tensor, but got {name} with shape {tuple(value.shape)}")
    if value.dtype == torch.bool or value.is_complex():
        raise DataError(f"{name} should contain only real numbers, but got {name} with dtype {value.dtype}")
    if len(value) < at_least:
        raise DataError(f"{name} should have at least {at_least} entries, but got {len(value)}")


def _checked_kwargs(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(f"{name} should be a dictionary, but got {name}={value}")
    if not all(isinstance(key, str) for key in value):
        raise ArgumentTypeError(f"{name} should have only strings as keys, but got {list(value)}")
    return value
