# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Loader processes that outlive the signals by which a run is stopped: the run needs them to finish its step.

A terminal, ``timeout`` and schedulers signal the whole process group. Until a new worker ignores such a signal, the
handler that torch sets would end it, so workers are started with these signals blocked.
"""

import signal
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from bionemo.core.stop_signals import STOP_SIGNALS


def ignore_stop_signals(worker_id: int = 0) -> None:
    """Ignore in a loader's worker process the signals that the training process handles: a ``worker_init_fn``."""
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # one that has come meanwhile is dropped


class StopSafeLoader(DataLoader[Any]):
    """A loader with `ignore_stop_signals` as its ``worker_init_fn``: at no moment does such a signal end a worker."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names its own iterator
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
