# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Where the ranks of a run meet: missing ones and ones with other settings are named before training starts.

torchrun keeps the store over restarts, so that what an earlier attempt has left there must not be taken for a rank of
this one. The first rank names its attempt, and tells the name to every rank that greets it with a word of its own.
"""

import json
import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

from torch.distributed import (  # type: ignore[attr-defined]  # torch does not list them as exports
    DistStoreError,
    HashStore,
    PrefixStore,
    Store,
    TCPStore,
)

from bionemo.core.errors import ParallelismError
from bionemo.llm.training.ranks.restarts import agent_listens


POLL_S, LINGER_S = 0.05, 5.0
MOST_NAMED = 8


class Environment(Protocol):
    """What is asked of Lightning's cluster environment."""

    main_address: str
    main_port: int

    def world_size(self) -> int:
        """Number of ranks."""

    def global_rank(self) -> int:
        """This rank."""


def meet(environment: Environment, *, settings: Mapping[str, Any], timeout: timedelta) -> Store:
    """Wait until every rank is there, and compare their settings; one process alone opens no port.

    Args:
        environment: Address, number and own place.
        settings: What all ranks must agree on; plain values.
        timeout: How long to wait; also the time-out of the store's later calls.

    Returns:
        The store that the process group is made on.

    Raises:
        ParallelismError: A rank is missing or has other settings; the message names it.
    """
    rank, world_size = environment.global_rank(), environment.world_size()
    if world_size == 1:
        return HashStore()
    meeting = _Meeting(environment, timeout)
    store = meeting.join()
    store.set(f"settings/{rank}", json.dumps(dict(settings), sort_keys=True, default=str))
    meeting.wait_for_all(store)
    complaint = _compare(store, world_size)
    if complaint is not None:
        store.set(f"read/{rank}", "")
        if rank == 0:  # the store lives here: stay until all have read what is wrong
            _linger(store, [f"read/{other}" for other in range(world_size)])
        raise ParallelismError(complaint)
    return PrefixStore("group", store)


def _compare(store: Store, world_size: int) -> str | None:
    """Say how the first rank that differs from rank 0 was started."""
    first = json.loads(store.get("settings/0"))
    for other in range(1, world_size):
        theirs = json.loads(store.get(f"settings/{other}"))
        differing = [name for name in sorted(first.keys() | theirs.keys()) if first.get(name) != theirs.get(name)]
        if differing:
            name = differing[0]
            return (
                f"rank {other} was started with {name} = {theirs.get(name)!r}, rank 0 with {first.get(name)!r}. "
                "Start every rank with the same command."
            )
    return None


def _linger(store: Store, keys: list[str]) -> None:
    deadline = time.monotonic() + LINGER_S
    while not store.check(keys) and time.monotonic() < deadline:
        time.sleep(POLL_S)


class _Meeting:
    """One attempt of the ranks to meet.

    Args:
        environment: Address, number and own place.
        timeout: How long to wait.
    """

    def __init__(self, environment: Environment, timeout: timedelta) -> None:
        self.rank, self.world_size = environment.global_rank(), environment.world_size()
        self.address, self.port = environment.main_address, environment.main_port
        self.timeout, self._limit_s = timeout, timeout.total_seconds()
        self._deadline = time.monotonic() + self._limit_s
        self._store = PrefixStore("bionemo", self._open())
        self._word = uuid.uuid4().hex

    def _open(self) -> Store:
        """Listen on rank 0, connect on others; under torchrun its agent listens already."""
        listens = self.rank == 0 and not agent_listens()
        try:
            return TCPStore(
                self.address, self.port, self.world_size, listens, timeout=self.timeout, wait_for_workers=False
            )
        except (DistStoreError, RuntimeError, OSError) as error:
            raise ParallelismError(
                f"rank {self.rank} of {self.world_size}: rank 0 at {self.address}:{self.port} cannot be reached "
                f"within {self._limit_s:.0f} s ({_first_line(error)}). Check MASTER_ADDR and MASTER_PORT, "
                "and that rank 0 was started."
            ) from error

    def join(self) -> Store:
        """Return the store of this attempt, under the name that rank 0 gives it.

        Raises:
            ParallelismError: Rank 0 does not answer.
        """
        if self.rank == 0:
            return PrefixStore(self._word, self._store)
        self._store.set(f"greeting/{self.rank}", self._word)
        while not self._store.check([f"answer/{self._word}"]):
            self._wait([0])
        return PrefixStore(self._store.get(f"answer/{self._word}").decode(), self._store)

    def wait_for_all(self, store: Store) -> None:
        """Wait until every rank has left its settings; rank 0 answers those that greet it.

        Args:
            store: Of this attempt.

        Raises:
            ParallelismError: Ranks are missing; the message names them.
        """
        missing = list(range(self.world_size))
        while missing := [rank for rank in missing if not store.check([f"settings/{rank}"])]:
            if self.rank == 0:
                self._answer(missing)
            self._wait(missing)

    def _answer(self, ranks: list[int]) -> None:
        """Tell ranks the name of this attempt; a greeting of an earlier one is answered in vain."""
        for rank in ranks:
            if self._store.check([f"greeting/{rank}"]):
                word = self._store.get(f"greeting/{rank}").decode()
                self._store.set(f"answer/{word}", self._word)

    def _wait(self, missing: list[int]) -> None:
        if time.monotonic() > self._deadline:
            named = ", ".join(map(str, missing[:MOST_NAMED])) + (", ..." if len(missing) > MOST_NAMED else "")
            raise ParallelismError(
                f"{len(missing)} of {self.world_size} ranks did not start within {self._limit_s:.0f} s: "
                f"rank {named}. Look at their logs, and that each was given MASTER_ADDR {self.address} and "
                f"MASTER_PORT {self.port}."
            )
        time.sleep(POLL_S)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
