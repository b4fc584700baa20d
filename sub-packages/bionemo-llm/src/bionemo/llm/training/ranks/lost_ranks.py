# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Notices a rank that dies, so that the others end at once and name it instead of waiting in a collective.

Every rank keeps a connection to the first one. The kernel closes a dead process's connections, however it died; a rank
that ends as it should says so before. The first rank tells all others. A computer that loses its power closes nothing:
then the process group's own timeout ends the run.
"""

import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bionemo.core.errors import BionemoError


logger = logging.getLogger(__name__)

NOTICE_S = 3.0
"""How long after a failed collective a lost rank may be noticed as its cause."""
GRACE_S = 5.0
"""How long the main thread has to end by itself, once a rank is lost, before the process is ended."""
CONNECT_S = 60.0
FINISHED = b"finished"
EXIT_CODE = 1


class Lifeline:
    """This rank's connection to the others.

    Args:
        rank: Own rank.
        world_size: Ranks.
        store: Where the first rank leaves its port.
        address: Of the first rank's computer.
        on_lost: Called in a thread, once, with the message; ends the process where the main thread does not.
    """

    def __init__(
        self,
        rank: int,
        world_size: int,
        store: Any,
        address: str = "127.0.0.1",
        on_lost: Callable[["Lifeline"], None] | None = None,
    ) -> None:
        self.rank, self.world_size = rank, world_size
        self.lost_rank: int | None = None
        self._noticed = threading.Event()
        self._on_lost = on_lost or end_process
        self._closing = False
        self._peers: dict[socket.socket, int] = {}
        if rank == 0:
            listener = _listen(world_size)
            store.set("lifeline", str(listener.getsockname()[1]))
            for _ in range(world_size - 1):
                peer, _ = listener.accept()
                self._peers[peer] = int.from_bytes(_receive(peer, 4), "big")
            listener.close()
        else:
            peer = socket.create_connection((address, int(store.get("lifeline"))), timeout=CONNECT_S)
            peer.sendall(rank.to_bytes(4, "big"))
            self._peers[peer] = 0
        for peer in self._peers:
            peer.settimeout(None)
        os.register_at_fork(after_in_child=self._close_in_child)
        self._thread = threading.Thread(target=self._watch, name="lifeline", daemon=True)
        self._thread.start()

    def _close_in_child(self) -> None:
        """Close the copies in a loader's process, which would keep the connection of a dead rank open."""
        for peer in self._peers:
            peer.close()

    @property
    def message(self) -> str:
        """What has happened, in one line."""
        return (
            f"rank {self.lost_rank} of {self.world_size} has ended without finishing; see its own output, or the "
            "system's log for a kill (out of memory). --resume-if-exists continues from the last checkpoint."
        )

    def wait_for_loss(self, timeout_s: float) -> None:
        """Wait whether a failure here was caused by a lost rank.

        Raises:
            BionemoError: It was; the message names the rank.
        """
        if self._noticed.wait(timeout_s):
            raise BionemoError(self.message)  # a failed run, not bad input

    def close(self) -> None:
        """Announce to the others that this rank ends as it should."""
        self._closing = True
        for peer in self._peers:
            with suppress(OSError):
                peer.sendall(FINISHED)
                peer.shutdown(socket.SHUT_WR)

    def _watch(self) -> None:
        waiting = selectors.DefaultSelector()
        for connection in self._peers:
            waiting.register(connection, selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                peer: Any = key.fileobj
                waiting.unregister(peer)
                said = _receive(peer, len(FINISHED))
                if said == FINISHED:
                    continue
                lost = int.from_bytes(said, "big") if len(said) == len(FINISHED) else self._peers[peer]
                self._lose(lost)
                return

    def _lose(self, rank: int) -> None:
        if self._closing:
            return
        self.lost_rank = rank
        for peer, number in self._peers.items():
            if number not in (0, rank):
                with suppress(OSError):
                    peer.sendall(rank.to_bytes(len(FINISHED), "big"))
        self._noticed.set()
        self._on_lost(self)


def end_process(lifeline: Lifeline) -> None:
    """End the process with the message, unless its main thread has done so within ``GRACE_S``.

    The main thread may be in a collective that never returns, so that no exception can reach it.
    """
    threading.Event().wait(GRACE_S)
    if not lifeline._closing:
        logger.error("%s", lifeline.message)
        os._exit(EXIT_CODE)


@contextmanager
def ending_together(find: Callable[[], Lifeline | None]) -> Iterator[None]:
    """Announce to the other ranks how the block ended, and name a lost rank where it has caused a failure.

    Args:
        find: Returns what the block has made; None for a process alone.

    Raises:
        BionemoError: A rank was lost.
    """
    try:
        yield
    except BionemoError:
        raise
    except Exception:
        if (lifeline := find()) is not None:
            lifeline.wait_for_loss(NOTICE_S)
        raise
    except SystemExit:  # all ranks have agreed to stop
        if (lifeline := find()) is not None:
            lifeline.close()
        raise
    if (lifeline := find()) is not None:
        lifeline.close()


def _listen(world_size: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    listener = socket.create_server(("", 0), family=family, backlog=world_size, dualstack_ipv6=both)
    listener.settimeout(CONNECT_S)
    return listener


def _receive(peer: socket.socket, size: int) -> bytes:
    """Return so many bytes, fewer where the connection ends before."""
    data = b""
    with suppress(OSError):
        while len(data) < size and (more := peer.recv(size - len(data))):
            data += more
    return data
