# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Memory for batches, used again when nobody holds the batch any more.

Batches of a megabyte go back to the system when they are freed, and the next one costs a page fault for every 4 KiB:
about a third of a batch's whole cost. Here the memory is kept and handed out again.
"""

import os
import sys
import threading
from typing import Any

import numpy as np


_SMALLEST_CLASS = 16  # 2**16 bytes; smaller arrays cost the system no page faults worth saving
_MAX_PER_CLASS = 16  # looked through for each array


class BufferPool:
    """Hands out arrays over kept memory; an array is recycled when no array or tensor over it is left."""

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        """Keep about so many bytes at most; what is larger than an eighth comes from the system as usual."""
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: dict[int, list[np.ndarray]] = {}  # by the power of two that is their size in bytes

    def empty(self, length: int, dtype: Any) -> np.ndarray:
        """An uninitialized one-dimensional array that shares memory with no array alive."""
        dtype = np.dtype(dtype)
        size_bytes = length * dtype.itemsize
        size_class = (size_bytes - 1).bit_length()
        if not _COUNTS_ARE_EXACT or size_class < _SMALLEST_CLASS or 2**size_class > self.max_bytes // 8:
            return np.empty(length, dtype)
        with self._lock:
            kept = self._kept.setdefault(size_class, [])
            for position in range(len(kept)):
                # Two references: the list's, and the argument of getrefcount. Every array or tensor over the memory
                # holds one more.
                if sys.getrefcount(kept[position]) == 2:
                    return kept[position][:size_bytes].view(dtype)
            room = np.empty(2**size_class, np.uint8)
            kept.append(room)
            # The oldest goes: somebody keeps it for long and will free it himself. A class may have a quarter of the
            # bytes, for the batches that some threads prepare ahead are all of one size.
            if len(kept) > min(_MAX_PER_CLASS, self.max_bytes // 4 // 2**size_class):
                del kept[0]
            return room[:size_bytes].view(dtype)

    def renew_lock(self) -> None:
        """Forget who holds the lock; for a forked child, where only one thread continues."""
        self._lock = threading.Lock()


def _counts_are_exact() -> bool:
    """Whether this Python counts references as CPython does; if not, nothing is recycled."""
    kept = [np.empty(1)]
    alone = sys.getrefcount(kept[0])
    view = kept[0][:1].view(np.uint8)
    return alone == 2 and sys.getrefcount(kept[0]) == 3 and view.size == 8


_COUNTS_ARE_EXACT = _counts_are_exact()
BATCHES = BufferPool()
# A forked loader worker must not inherit a lock that another thread held at that moment.
os.register_at_fork(after_in_child=BATCHES.renew_lock)
