# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Arrays larger than memory: appended to files as a stream, and sorted by a key in several passes."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray


SORT_ITEMS = 2**22
"""Keys sorted at a time: about 100 MiB of memory with the places and the copies that sorting makes."""


class ColumnWriter:
    """One array file, appended to and checksummed on the way."""

    def __init__(self, path: Path, dtype: str):
        self.path = path
        self.dtype = np.dtype(dtype)
        self.count = 0
        self.checksum = 0
        self._file = path.open("wb")

    def append(self, values: NDArray[Any] | bytes) -> None:
        """Write more items."""
        data = values if isinstance(values, bytes) else np.ascontiguousarray(values, dtype=self.dtype).tobytes()
        self._file.write(data)
        self.checksum = zlib.crc32(data, self.checksum)
        self.count += len(data) // self.dtype.itemsize

    def close(self) -> dict[str, Any]:
        """Close the file; returns its entry for the header."""
        self._file.close()
        return {
            "dtype": self.dtype.str,
            "count": self.count,
            "size_bytes": self.count * self.dtype.itemsize,
            "crc32": self.checksum,
        }

    def __enter__(self) -> "ColumnWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def sorted_by_key(keys: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
    """Sort keys that do not fit into memory: a pass over them for each range of about `SORT_ITEMS` keys.

    Args:
        keys: [n] uint64, memory-mapped, uniformly distributed.

    Yields:
        Sorted keys and where they were (equal keys in their old order), range after range.
    """
    num_ranges = -(-len(keys) // SORT_ITEMS) or 1
    bounds = [np.uint64(min(part * 2**64 // num_ranges, 2**64 - 1)) for part in range(num_ranges + 1)]
    for part in range(num_ranges):
        is_last = part == num_ranges - 1
        found_keys, found_places = [], []
        for start in range(0, len(keys), SORT_ITEMS):
            chunk = keys[start : start + SORT_ITEMS]
            inside = chunk >= bounds[part]
            if not is_last:
                inside &= chunk < bounds[part + 1]
            places = np.flatnonzero(inside)
            found_keys.append(chunk[places])
            found_places.append(places + start)
        part_keys, part_places = np.concatenate(found_keys), np.concatenate(found_places)
        order = np.argsort(part_keys, kind="stable")
        yield part_keys[order], part_places[order]
