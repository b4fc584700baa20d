# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A rank whose connection ends without a word is noticed by all others; one that says it has finished is not."""

import threading
import time
from collections.abc import Iterator

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
