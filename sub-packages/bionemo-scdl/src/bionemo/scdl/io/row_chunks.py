# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Iterate over an archive in chunks of whole rows that fit into memory."""

from collections.abc import Iterator

import numpy as np


def row_chunks(row_ptr: np.ndarray, max_elements: int, first: int = 0, last: int | None = None) -> Iterator[slice]:
    """Split a range of rows so that each chunk holds at most ``max_elements`` stored values.

    Args:
        row_ptr: [R + 1] row pointers; read only where needed.
        max_elements: Values per chunk; a longer row is a chunk of its own.
        first: First row.
        last: End of the rows, all of them unless given.

    Yields:
        Slices of row numbers, in order.
    """
    last = len(row_ptr) - 1 if last is None else last
    while first < last:
        limit = int(row_ptr[first]) + max_elements
        stop = int(np.searchsorted(row_ptr[first : last + 1], limit, side="right")) - 1 + first
        stop = min(max(stop, first + 1), last)
        yield slice(first, stop)
        first = stop
