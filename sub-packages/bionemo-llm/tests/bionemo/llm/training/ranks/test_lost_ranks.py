# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A rank whose connection ends without a word is noticed by all others; one that says it has finished is not."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest

from bionemo.core.errors import BionemoError
from bionemo.llm.training.ranks import lost_ranks
from bionemo.llm.training.ranks.lost_ranks import Lifeline, ending_together


class Store(dict[str, str]):
    """As torch's: a value is waited for."""

    def set(self, key: str, value: str) -> None:
        self[key] = value

    def get(self, key: str) -> str:  # type: ignore[override]
        while key not in self:
            time.sleep(0.01)
        return self[key]


@pytest.fixture
def lifelines() -> Iterator[list[Lifeline]]:
    store, found = Store(), {}

    def connect(rank: int) -> None:
        found[rank] = Lifeline(rank, 3, store, on_lost=lambda lifeline: None)

    threads = [threading.Thread(target=connect, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield [found[rank] for rank in range(3)]
    for lifeline in found.values():
        lifeline.close()


def die(lifeline: Lifeline) -> None:
    """Close the connections as the kernel does for a dead process."""
    lifeline._closing = True
    for peer in lifeline._peers:
        peer.shutdown(2)


@pytest.mark.parametrize("dead", [0, 1, 2])
def test_a_dead_rank_is_named_on_every_other(lifelines: list[Lifeline], dead: int) -> None:
    die(lifelines[dead])
    for rank in {0, 1, 2} - {dead}:
        with pytest.raises(BionemoError, match=f"rank {dead} of 3 has ended without finishing"):
            lifelines[rank].wait_for_loss(10.0)


def test_a_rank_that_has_finished_is_not_missed(lifelines: list[Lifeline]) -> None:
    lifelines[2].close()
    lifelines[1].wait_for_loss(0.2)
    die(lifelines[1])
    with pytest.raises(BionemoError, match="rank 1 of 3"):
        lifelines[0].wait_for_loss(10.0)


def test_a_failed_collective_is_blamed_on_the_lost_rank(
    lifelines: list[Lifeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_ranks, "NOTICE_S", 0.2)
    with pytest.raises(RuntimeError, match="of its own"), ending_together(lambda: lifelines[0]):
        raise RuntimeError("of its own")
    monkeypatch.setattr(lost_ranks, "NOTICE_S", 10.0)
    die(lifelines[1])
    with pytest.raises(BionemoError, match="rank 1 of 3"), ending_together(lambda: lifelines[0]):
        raise RuntimeError("connection closed by peer")


@pytest.mark.parametrize("ending", [None, SystemExit(143)], ids=["at its end", "stopped by a signal"])
def test_a_rank_that_ends_as_all_do_is_not_missed(lifelines: list[Lifeline], ending: SystemExit | None) -> None:
    with suppress(SystemExit), ending_together(lambda: lifelines[1]):
        if ending is not None:
            raise ending
    die(lifelines[1])
    lifelines[0].wait_for_loss(0.3)


def test_bad_input_is_not_blamed_on_a_lost_rank(lifelines: list[Lifeline]) -> None:
    die(lifelines[1])
    with pytest.raises(BionemoError, match="rank 1 of 3"):
        lifelines[0].wait_for_loss(10.0)
    with pytest.raises(BionemoError, match="of its own"), ending_together(lambda: lifelines[0]):
        raise BionemoError("of its own")


def test_a_rank_that_ends_itself_misses_nobody(lifelines: list[Lifeline]) -> None:
    lifelines[0].close()
    die(lifelines[1])
    lifelines[0].wait_for_loss(0.3)


def test_a_loader_process_does_not_keep_the_connection_of_a_dead_rank(lifelines: list[Lifeline]) -> None:
    loader = os.fork()
    if not loader:
        signal.pause()
        os._exit(0)
    try:
        lifelines[1]._closing = True
        for peer in lifelines[1]._peers:
            peer.close()  # as the kernel closes the rank's own copy, and not the loader's
        with pytest.raises(BionemoError, match="rank 1 of 3"):
            lifelines[0].wait_for_loss(10.0)
    finally:
        os.kill(loader, signal.SIGKILL)
        os.waitpid(loader, 0)


@pytest.mark.parametrize(("closing", "code"), [(False, 1), (True, 7)], ids=["in a collective", "about to end"])
def test_a_rank_that_waits_for_a_lost_one_is_ended(closing: bool, code: int) -> None:
    child = os.fork()
    if not child:
        lost_ranks.GRACE_S = 0.1
        lost_ranks.end_process(SimpleNamespace(_closing=closing, message="rank 1 of 2 has ended"))
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
