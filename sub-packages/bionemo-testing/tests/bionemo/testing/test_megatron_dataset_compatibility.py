# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import random

import numpy as np
import pytest
import torch

from bionemo.core.data.multi_epoch_dataset import EpochIndex
from bionemo.testing.megatron_dataset_compatibility import (
    DatasetDistributedNondeterministic,
    DatasetLocallyNondeterministic,
    assert_dataset_compatible_with_megatron,
    assert_dataset_elements_not_equal,
)


class Reader:
    """A dataset of one function."""

    def __init__(self, read, size=10):
        self.read, self.size = read, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {"x": self.read(index)}


def pure(index):
    return torch.rand(3, generator=torch.Generator().manual_seed(int(np.sum(index))))


def reseeding(index):
    torch.manual_seed(index)
    return torch.rand(3)


def reseeding_cuda(index):
    torch.cuda.manual_seed_all(index)
    return torch.zeros(3)


def from_numpy_global(index):
    np.random.seed(index)  # noqa: NPY002 the fault to be found
    return np.random.rand(3)  # noqa: NPY002


def from_python_global(index):
    return random.Random(index).random() + 0 * random.random()


def from_torch_global(index):
    torch.rand(1)
    return torch.zeros(3)


def test_pure_functions_of_the_index_pass():
    assert_dataset_compatible_with_megatron(Reader(pure), 3)
    assert_dataset_compatible_with_megatron(Reader(pure), EpochIndex(1, 3))
    assert_dataset_elements_not_equal(Reader(pure), 0, 1)
    assert_dataset_elements_not_equal(Reader(pure), EpochIndex(0, 3), EpochIndex(1, 3))


def test_two_reads_that_differ():
    reads = iter(range(10))
    with pytest.raises(DatasetLocallyNondeterministic, match=r"dataset\[0\] read twice differs: \['x'\]: 0 vs 1"):
        assert_dataset_compatible_with_megatron(Reader(lambda _: next(reads)))


@pytest.mark.parametrize(
    ("read", "culprit"),
    [
        (reseeding, "calls torch.manual_seed"),
        (reseeding_cuda, "calls torch.cuda.manual_seed_all"),
        (from_numpy_global, "uses numpy's global generator"),
        (from_python_global, "uses python's global generator"),
        (from_torch_global, "uses torch's global generator"),
    ],
)
def test_global_generators_are_told(read, culprit):
    with pytest.raises(DatasetDistributedNondeterministic, match=culprit):
        assert_dataset_compatible_with_megatron(Reader(read))
    assert torch.manual_seed.__module__ == "torch.random"  # nothing stays patched


def test_equal_samples_and_an_empty_dataset():
    with pytest.raises(AssertionError, match=r"dataset\[0\] and dataset\[1\] are equal"):
        assert_dataset_elements_not_equal(Reader(lambda _: torch.ones(2)))
    with pytest.raises(AssertionError, match="Need one element or more to test"):
        assert_dataset_compatible_with_megatron(Reader(pure, size=0))
