# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Read ``.npy`` files of any origin: no pickles, and no memory for a shape that the file does not hold."""

import math
from pathlib import Path

import numpy as np


def read_npy(path: Path) -> np.ndarray:
    """Read an array of numbers or text.

    Raises:
        ValueError: It is no array file, holds objects (the message has ``allow_pickle``), or is cut off.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        stated, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
        if not dtype.hasobject and (
            stated != there or min(shape, default=0) < 0 or math.prod(shape) > stated + 1_000_000
        ):
            raise ValueError(f"an array of {shape} {dtype}, but {there} bytes")
    return np.asarray(np.load(path, allow_pickle=False))
