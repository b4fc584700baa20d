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


_MAX_KEPT = 32  # looked through for each batch


class BufferPool:
    """Hands out arrays over kept memory; an array is recycled when no array or tensor over it is left."""

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        """Keep at most so many bytes; what is larger comes from the system as usual."""
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: list[np.ndarray] = []
        self._kept_bytes = 0

    def empty(self, length: int, dtype: Any) -> np.ndarray:
        """An uninitialised one-dimensional array that shares memory with no array alive."""
        dtype = np.dtype(dtype)
        size_bytes = length * dtype.itemsize
        if not _COUNTS_ARE_EXACT or not 2**16 <= size_bytes <= self.max_bytes // 8:
            return np.empty(length, dtype)
        with self._lock:
            for position in range(len(self._kept)):
                # Two references: the list's, and the argument of getrefcount. Every array or tensor over the memory
                # holds one more.
                if self._kept[position].nbytes >= size_bytes and sys.getrefcount(self._kept[position]) == 2:
                    return self._kept[position][:size_bytes].view(dtype)
            room = np.empty(size_bytes + size_bytes // 4, np.uint8)  # later batches may be a little larger
            self._kept.append(room)
            self._kept_bytes += room.nbytes
            # The oldest go: they are too small, or somebody keeps them for long and will free them himself.
            while self._kept_bytes > self.max_bytes or len(self._kept) > _MAX_KEPT:
                self._kept_bytes -= self._kept.pop(0).nbytes
            return room[:size_bytes].view(dtype)

    def renew_lock(self) -> None:
        """Forget who holds the lock; for a forked child, where only one thread goes on."""
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
