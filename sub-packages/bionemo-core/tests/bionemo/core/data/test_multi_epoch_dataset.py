# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import itertools
import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader

from bionemo.core.data.multi_epoch_dataset import (
    EpochIndex,
    IdentityMultiEpochDatasetWrapper,
    MultiEpochDatasetResampler,
    MultiEpochDatasetWrapper,
)
from bionemo.core.errors import BionemoError


class Echo:
    """Answers with the index it was asked for."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        assert type(index) is EpochIndex
        assert (type(index.epoch), type(index.idx)) == (int, int)
        return index


@pytest.mark.parametrize(
    ("arguments", "num_epochs", "num_samples"),
    [
        ({}, 1, 10),
        ({"num_epochs": 3}, 3, 30),
        ({"num_samples": 25}, 3, 25),
        ({"num_samples": 30}, 3, 30),
        ({"num_samples": 1}, 1, 1),
    ],
)
def test_counts(arguments, num_epochs, num_samples):
    resampler = MultiEpochDatasetResampler(Echo(10), **arguments)
    assert (resampler.num_epochs, resampler.num_samples, len(resampler)) == (num_epochs, num_samples, num_samples)
    assert [resampler[i].epoch for i in range(num_samples)] == [i // 10 for i in range(num_samples)]


@pytest.mark.parametrize(
    ("length", "arguments", "message"),
    [
        (10, {"num_epochs": 1, "num_samples": 1}, "Only one of num_epochs and num_samples should be provided."),
        (10, {"num_epochs": 0}, "num_epochs must be at least 1."),
        (10, {"num_samples": 0}, "num_epochs must be at least 1."),
        (0, {"num_samples": 5}, "num_samples: 5 asked for, but the dataset is empty."),
        (10, {"seed": -1}, "seed: expected a number from 0 to 2**63 - 1, got -1."),
    ],
)
def test_wrong_counts(length, arguments, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the whole text is compared
        MultiEpochDatasetResampler(Echo(length), **arguments)
    assert str(caught.value) == message
    assert isinstance(caught.value, BionemoError)


def test_empty_dataset_with_epochs_is_empty():
    resampler = MultiEpochDatasetResampler(Echo(0), num_epochs=3)
    assert len(resampler) == 0
    assert [each.tolist() for each in resampler.indices(0, 0)] == [[], []]


@pytest.mark.parametrize("length", range(5, 101))
def test_first_epochs_have_different_orders(length):
    resampler = MultiEpochDatasetResampler(Echo(length), num_epochs=3)
    idxs = resampler.indices(0, 3 * length)[1].reshape(3, length)
    for epoch in range(3):
        assert sorted(idxs[epoch].tolist()) == list(range(length))
    for one, other in itertools.combinations(idxs.tolist(), 2):
        assert one != other


def test_without_shuffling():
    resampler = MultiEpochDatasetResampler(Echo(4), num_epochs=2, shuffle=False)
    assert [resampler[i] for i in range(8)] == [EpochIndex(e, i) for e in range(2) for i in range(4)]


def test_order_depends_on_the_seed_alone():
    orders = [
        [item.idx for item in map(MultiEpochDatasetResampler(Echo(50), seed=seed).__getitem__, range(50))]
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_golden_order():
    """Made by this code when it was first released; resumed runs depend on it."""
    resampler = MultiEpochDatasetResampler(Echo(6), num_epochs=2)
    assert [tuple(resampler[i]) for i in range(12)] == [
        (0, 0),
        (0, 1),
        (0, 5),
        (0, 2),
        (0, 3),
        (0, 4),
        (1, 0),
        (1, 1),
        (1, 3),
        (1, 2),
        (1, 5),
        (1, 4),
    ]


@pytest.mark.parametrize("index", [-1, 10, 10**9, np.int64(-1), np.int64(10)])
def test_index_outside(index):
    with pytest.raises(IndexError, match=rf"^Index {index} out of bounds for dataset of length 10\.$"):
        MultiEpochDatasetResampler(Echo(10))[index]


def test_numpy_index():
    resampler = MultiEpochDatasetResampler(Echo(10))
    assert resampler[np.int32(3)] == resampler[3]


@pytest.mark.parametrize("length", [1, 3, 64, 65, 1000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_indices_equal_single_reads(length, shuffle):
    resampler = MultiEpochDatasetResampler(Echo(length), num_samples=5000, shuffle=shuffle, seed=9)
    epochs, idxs = resampler.indices(17, 4321)
    assert (epochs.dtype, idxs.dtype) == (np.int64, np.int64)
    assert list(zip(epochs.tolist(), idxs.tolist(), strict=True)) == [tuple(resampler[i]) for i in range(17, 4321)]


def test_indices_outside():
    resampler = MultiEpochDatasetResampler(Echo(10))
    for start, stop in ((-1, 3), (0, 11), (5, 4)):
        with pytest.raises(IndexError, match=rf"Range {start}:{stop} out of bounds for dataset of length 10"):
            resampler.indices(start, stop)


@pytest.mark.parametrize("length", [1, 7, 10**9])
def test_memory_does_not_grow_with_samples_or_epochs(length):
    resampler = MultiEpochDatasetResampler(Echo(length), num_samples=10**12)
    assert len(resampler) == 10**12
    assert resampler[10**12 - 1].epoch == (10**12 - 1) // length
    assert resampler.indices(10**12 - 5, 10**12)[1].tolist() == [resampler[10**12 - 5 + i].idx for i in range(5)]
    assert len(pickle.dumps(resampler)) < 500


def test_works_in_a_data_loader():
    resampler = MultiEpochDatasetResampler(Echo(7), num_epochs=2)
    loader = DataLoader(resampler, batch_size=None, num_workers=1, collate_fn=tuple)
    assert list(loader) == [tuple(resampler[i]) for i in range(14)]


class AddEpoch(MultiEpochDatasetWrapper):
    def apply_transform(self, sample, index):
        return sample + 100 * index.epoch


def test_wrappers():
    transformed = AddEpoch(range(5))
    assert len(transformed) == 5
    assert transformed[EpochIndex(epoch=2, idx=3)] == 203
    assert IdentityMultiEpochDatasetWrapper(range(5))[EpochIndex(2, 3)] == 3
    with pytest.raises(TypeError, match="abstract"):
        MultiEpochDatasetWrapper(range(5))
