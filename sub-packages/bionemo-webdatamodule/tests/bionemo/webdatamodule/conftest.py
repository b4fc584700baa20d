# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bionemo.webdatamodule.utils import pickles_to_tars


MakeTars = Callable[..., str]


@pytest.fixture
def make_tars(tmp_path: Path) -> MakeTars:
    """Write samples 0 to n-1, each the tensor [i] under "tensor.pyd", into a folder of tars; returns the folder."""

    def make(num_samples: int, num_shards: int, name: str = "tars") -> str:
        files = tmp_path / f"{name}-files"
        files.mkdir()
        for i in range(num_samples):
            (files / f"s{i:04d}.tensor.pyd").write_bytes(pickle.dumps(torch.tensor([i])))
        folder = tmp_path / name
        names = [f"s{i:04d}" for i in range(num_samples)]
        pickles_to_tars(str(files), names, "tensor.pyd", str(folder), "wdshards", min_num_shards=num_shards)
        return str(folder)

    return make
