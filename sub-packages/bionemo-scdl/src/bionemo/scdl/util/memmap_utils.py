# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Choosing the dtypes of an archive's arrays."""

from collections.abc import Iterable

import numpy as np

from bionemo.core.errors import DataError
from bionemo.scdl.util.scdl_constants import FLOAT_ORDER, INT_ORDER


def smallest_uint_dtype(x: int) -> str:
    """Name the narrowest unsigned integer dtype that holds ``x``.

    Raises:
        ValueError: ``x`` is negative or needs more than 64 bits.
    """
    if x < 0:
        raise DataError("Negative numbers can't be unsigned.")
    for name in INT_ORDER:
        if x <= np.iinfo(name).max:
            return name
    raise DataError(f"No unsigned integer dtype can represent the given number: {x}")


def determine_dtype(dtypes: Iterable[str]) -> str:
    """Name the widest of some dtypes of one family (unsigned integers or floats).

    Raises:
        ValueError: There are none, or both families occur.
    """
    names = sorted({np.dtype(dtype).name for dtype in dtypes})
    if not names:
        raise DataError("No dtypes provided")
    for order in (INT_ORDER, FLOAT_ORDER):
        if all(name in order for name in names):
            return max(names, key=order.index)
    raise DataError(f"Mixed float and integer dtype families not allowed: {names}")
