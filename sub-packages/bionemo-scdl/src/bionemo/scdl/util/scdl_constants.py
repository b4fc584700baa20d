# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""File names, dtypes and modes of an archive."""

from enum import Enum, IntEnum
from typing import Any

import numpy as np


class FileNames(str, Enum):  # str() of a member is part of the contract
    """Names of the files and folders inside an archive."""

    DATA = "data.npy"
    ROWPTR = "row_ptr.npy"
    COLPTR = "col_ptr.npy"
    NEIGHBOR_INDICES = "neighbor_indices.npy"
    NEIGHBOR_INDICES_PTR = "neighbor_indptr.npy"
    NEIGHBOR_VALUES = "neighbor_values.npy"
    METADATA = "metadata.json"
    FEATURES = "features"
    VAR_FEATURES = "var_features"
    OBS_FEATURES = "obs_features"
    VERSION = "version.json"
    HEADER = "header.sch"


class Mode(str, Enum):  # str() of a member is part of the contract
    """How an archive is opened."""

    CREATE_APPEND = "w+"
    READ_APPEND = "r+"
    READ = "r"
    CREATE = "w"


class NeighborSamplingStrategy(str, Enum):  # str() of a member is part of the contract
    """How one neighbor of a cell is chosen."""

    RANDOM = "random"
    FIRST = "first"


class Backend(IntEnum):
    """How the arrays are stored."""

    MEMMAP_V0 = 1


INT_ORDER: list[str] = ["uint8", "uint16", "uint32", "uint64"]
FLOAT_ORDER: list[str] = ["float16", "float32", "float64"]
DATA_DTYPES: tuple[str, ...] = (*INT_ORDER, *FLOAT_ORDER)


class ArrayDType(IntEnum):
    """Code of an array's dtype in the header."""

    UINT8_ARRAY = 1
    UINT16_ARRAY = 2
    UINT32_ARRAY = 3
    UINT64_ARRAY = 4
    FLOAT16_ARRAY = 5
    FLOAT32_ARRAY = 6
    FLOAT64_ARRAY = 7
    STRING_ARRAY = 8
    FIXED_STRING_ARRAY = 9

    @property
    def numpy_dtype_string(self) -> str:
        """NumPy's name of the dtype; ``"string"`` and ``"fixed_string"`` for the two text codes."""
        return self.name.removesuffix("_ARRAY").lower()

    @classmethod
    def from_numpy_dtype(cls, dtype: Any) -> "ArrayDType":
        """Find the code of a dtype.

        Args:
            dtype: A dtype name, a NumPy scalar type, a dtype of either byte order, or an array.

        Raises:
            ValueError: Signed integers and everything else that an archive cannot hold.
        """
        original = dtype
        try:
            found = np.dtype(dtype.dtype if isinstance(dtype, np.ndarray) else dtype)
        except TypeError as error:
            raise ValueError(f"Unsupported numpy dtype: {dtype} (original: {original})") from error
        if found.kind == "i":
            raise ValueError(f"Signed integer dtypes are not supported: {found}")
        if found.kind == "O":
            return cls.STRING_ARRAY
        if found.kind == "U":
            # ``str`` itself names no width; an array of text does.
            return cls.FIXED_STRING_ARRAY if found.itemsize else cls.STRING_ARRAY
        if found.name in DATA_DTYPES:
            return cls[f"{found.name.upper()}_ARRAY"]
        raise ValueError(f"Unsupported numpy dtype: {found} (original: {original})")
