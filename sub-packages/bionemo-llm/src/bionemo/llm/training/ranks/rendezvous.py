# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Where the ranks of a run meet: missing ones and ones with other settings are named before training starts."""

import json
import os
import time
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
    store = _open_store(environment, rank, world_size, timeout)
    store.set(f"settings/{rank}", json.dumps(dict(settings), sort_keys=True, default=str))
    _wait_for_all(store, environment, world_size, timeout)
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


def _open_store(environment: Environment, rank: int, world_size: int, timeout: timedelta) -> Store:
    """Listen on rank 0, connect on others; under torchrun its agent listens already."""
    agent_listens = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    address, port = environment.main_address, environment.main_port
    try:
        store = TCPStore(
            address, port, world_size, rank == 0 and not agent_listens, timeout=timeout, wait_for_workers=False
        )
    except (DistStoreError, RuntimeError, OSError) as error:
        raise ParallelismError(
            f"rank {rank} of {world_size}: rank 0 at {address}:{port} cannot be reached within "
            f"{timeout.total_seconds():.0f} s ({_first_line(error)}). Check MASTER_ADDR and MASTER_PORT, "
            "and that rank 0 was started."
        ) from error
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"bionemo/{attempt}", store)


def _wait_for_all(store: Store, environment: Environment, world_size: int, timeout: timedelta) -> None:
    deadline = time.monotonic() + timeout.total_seconds()
    missing = list(range(world_size))
    while missing := [rank for rank in missing if not store.check([f"settings/{rank}"])]:
        if time.monotonic() > deadline:
            named = ", ".join(map(str, missing[:MOST_NAMED])) + (", ..." if len(missing) > MOST_NAMED else "")
            raise ParallelismError(
                f"{len(missing)} of {world_size} ranks did not start within {timeout.total_seconds():.0f} s: rank "
                f"{named}. Look at their logs, and that each was given MASTER_ADDR {environment.main_address} and "
                f"MASTER_PORT {environment.main_port}."
            )
        time.sleep(POLL_S)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
