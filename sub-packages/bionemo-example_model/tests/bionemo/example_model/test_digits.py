# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import gzip
import logging

import numpy as np
import pytest
import torch

from bionemo.core.errors import ConfigError, DataFileError, FormatError
from bionemo.example_model.digits import MNISTCustomDataset, draw_digit, find_mnist, read_idx


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


IMAGES = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 251
LABELS = np.array([7, 0, 9])


def write_mnist(folder, prefix="train", images=IMAGES, labels=LABELS):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))


@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw"])
def test_mnist_files_are_found_and_read(tmp_path, place):
    write_mnist(tmp_path / place)
    dataset = MNISTCustomDataset(tmp_path, train=True, transform=lambda image: image * 2)
    assert len(dataset) == 3
    item = dataset[2]
    assert (item["label"], item["idx"], item["data"].shape, item["data"].dtype) == (9, 2, (1, 28, 28), torch.float32)
    np.testing.assert_allclose(item["data"][0], 2 * IMAGES[2] / 255, rtol=1e-6)
    assert find_mnist(tmp_path, train=False) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\0\0\x0d\x01\0\0\0\0", "begins with 00000d01, expected 000008"),
        (b"\0", "begins with 00,"),
        (b"\0\0\x08\x02\0\0\0\x03", "header says \\?"),
        (idx_bytes(LABELS)[:-1], "2 values, its header says 3"),
        (idx_bytes(LABELS) + b"x", "4 values, its header says 3"),
    ],
)
def test_files_that_are_not_idx_are_named(tmp_path, content, text):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"{path}: .*{text}"):
        read_idx(path)


def test_unreadable_and_mismatched_files(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(idx_bytes(LABELS))[:-9])
    with pytest.raises(DataFileError, match=r"x\.gz: cannot be read"):
        read_idx(path)
    write_mnist(tmp_path, labels=LABELS[:2])
    with pytest.raises(FormatError, match=r"\(3, 28, 28\) images do not fit \(2,\) labels"):
        find_mnist(tmp_path, train=True)
    write_mnist(tmp_path, labels=np.array([1, 2, 10]))
    with pytest.raises(FormatError, match="do not fit"):
        find_mnist(tmp_path, train=True)


def test_drawn_digits_are_a_pure_function_and_said_so(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        train, test = MNISTCustomDataset(tmp_path, train=True), MNISTCustomDataset(tmp_path, train=False)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: no MNIST files there, digits are drawn instead"
    ]
    assert (len(train), len(test)) == (60_000, 10_000)
    assert [train[index]["label"] for index in range(12)] == [*range(10), 0, 1]
    assert torch.equal(train[5]["data"], train[5]["data"])
    assert not torch.equal(train[5]["data"], train[15]["data"])
    assert not torch.equal(train[5]["data"], test[5]["data"])
    with pytest.raises(ConfigError, match="nothing is downloaded"):
        MNISTCustomDataset(tmp_path, download=True)


def test_drawn_digits_have_ink_inside_the_frame():
    images = np.stack([draw_digit(3, index)[0] for index in range(200)])
    assert (images.dtype, images.shape) == (np.uint8, (200, 28, 28))
    ink = (images > 127).mean(axis=(1, 2))
    assert 0.03 < ink.min() < ink.max() < 0.35
    frame = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    assert (frame > 127).any(axis=1).mean() < 0.05


def test_drawn_digits_of_a_class_are_alike():
    images = np.stack([draw_digit(0, index)[0] for index in range(600)]).reshape(600, -1) / 255
    labels = np.arange(600) % 10
    centres = np.stack([images[:400][labels[:400] == label].mean(axis=0) for label in range(10)])
    nearest = ((images[400:, None] - centres) ** 2).sum(-1).argmin(axis=1)
    assert 0.6 < (nearest == labels[400:]).mean() < 1.0  # related, but no ten stamps
