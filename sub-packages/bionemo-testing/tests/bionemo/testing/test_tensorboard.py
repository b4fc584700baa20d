# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from bionemo.testing.tensorboard import verify_tensorboard_logs


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path_factory.mktemp("logs")
    with SummaryWriter(folder / "run" / "version_0") as writer:
        for step in range(3):
            writer.add_scalar("train/reduced_loss", 1.0 / (step + 1), step)
        writer.add_scalar("val_loss", 0.5, 2)
    return folder


def test_all_there(log_dir):
    assert verify_tensorboard_logs(log_dir, ["loss", "val_loss"]) is None
    assert verify_tensorboard_logs(log_dir, ["reduced_loss"], min_steps=3) is None


def test_what_is_missing_is_told(log_dir, tmp_path):
    assert verify_tensorboard_logs(tmp_path, ["loss"]) == f"No TensorBoard event files found in {tmp_path}"
    tags = "['train/reduced_loss', 'val_loss']"
    expected = f"Expected metric 'lr' not found in TensorBoard logs. Available tags: {tags}"
    assert verify_tensorboard_logs(log_dir, ["loss", "lr"]) == expected
    # The first metric has three steps; every expected one must have two.
    expected = "Expected at least 2 steps logged, but found 1"
    assert verify_tensorboard_logs(log_dir, ["reduced_loss", "val_loss"], min_steps=2) == expected
