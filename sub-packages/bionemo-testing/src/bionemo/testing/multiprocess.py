# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Run a test's function on several real ranks (gloo processes) that stay warm for the whole test session."""

import contextlib
import gc
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from bionemo.core.errors import ParallelismError
from bionemo.testing.fork_server import Child, ForkServer, FunctionName, Surroundings
from bionemo.testing.network_ports import free_port


MAX_RANKS = 4
GRACE_S = 10.0
"""How long the other ranks may continue once one has failed: their collectives end as soon as its sockets close."""

_PRELOAD = ("numpy", "torch", "torch.distributed")
_OUTPUT_TAIL = 4_000


class RanksFailedError(ParallelismError):
    """At least one rank raised, died or did not end in time; the message holds every rank's traceback and output."""


class RanksTimedOutError(RanksFailedError, TimeoutError):
    """The ranks did not end within ``timeout_s``."""


def run_on_ranks(
    n: int, fn: Callable[..., Any], *args: Any, timeout_s: float = 120, process_group: bool = True
) -> list[Any]:
    """Call ``fn(*args)`` on ``n`` ranks of a fresh gloo process group.

    The processes are kept between calls and started anew after a rank has died or hung. In ``fn``,
    ``torch.distributed`` is initialized, the variables of a torchrun launch are set (``MASTER_PORT`` is free for a
    group of the caller's own), torch has one thread and seed 0, and the caller's environment and working folder apply.

    Args:
        n: Number of ranks, 1 to 4.
        fn: A module-level function, of a test module too. It asks ``torch.distributed.get_rank()`` for its rank.
        args: The same for every rank, picklable.
        timeout_s: Seconds after which every rank is killed; also the time-out of the group's collectives.
        process_group: False leaves ``torch.distributed`` uninitialized, for code that does it itself.

    Returns:
        What ``fn`` returned on rank 0, 1, …

    Raises:
        ParallelismError: ``n`` is out of range.
        RanksFailedError: A rank raised or died. RanksTimedOutError, which is also a TimeoutError: time ran out.
    """
    if not 1 <= n <= MAX_RANKS:
        raise ParallelismError(f"run_on_ranks: {n} ranks asked for, expected 1 to {MAX_RANKS}.")
    call = {"fn": FunctionName.of(fn), "args": pickle.dumps(args), "timeout_s": timeout_s}
    return _pool.run(n, call | {"surroundings": Surroundings.here()}, timeout_s, process_group)


def warm_pool(*modules: str) -> None:
    """Import ``modules`` once, before the ranks are forked, instead of once in every rank."""
    _pool.preload(modules)


class _Pool:
    """Up to four forked ranks, each with a file that takes its output and, on SIGUSR1, its stack."""

    def __init__(self) -> None:
        self._server: ForkServer | None = None
        self._preloaded: set[str] = set()
        self._ranks: list[Child] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def run(self, n: int, call: dict[str, Any], timeout_s: float, process_group: bool) -> list[Any]:
        self._grow(n)
        ranks = self._ranks[:n]
        store = _tcp_store() if process_group else None  # lives here, so that no rank can end before it
        call |= {"world_size": n, "store_port": store.port if store else None, "master_port": free_port()}
        outcomes = self._talk(ranks, call, time.monotonic() + timeout_s)
        failed = {rank: text for rank, (kind, text) in enumerate(outcomes) if kind != "result"}
        if not failed:
            return [result for _, result in outcomes]
        error = RanksTimedOutError if any(kind == "timeout" for kind, _ in outcomes) else RanksFailedError
        name, outputs = call["fn"].qualname, [self._output(rank) for rank in range(n)]
        if any(kind != "error" for kind, _ in outcomes if kind != "result"):
            self.close_ranks()
        details = [f"--- rank {rank} of {n}\n{failed.get(rank, 'returned')}\n{outputs[rank]}" for rank in range(n)]
        raise error(f"{name} failed on rank(s) {', '.join(map(str, failed))} of {n}\n" + "\n".join(details))

    def _talk(self, ranks: list[Child], call: dict[str, Any], deadline: float) -> list[tuple[str, Any]]:
        """Send the call, collect one outcome per rank: result, error, died, or timeout."""
        outcomes: list[tuple[str, Any] | None] = [None] * len(ranks)
        for rank, child in enumerate(ranks):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # noticed as an end of file below
                child.send(call | {"rank": rank})
        late = "timeout"
        while pending := [child for rank, child in enumerate(ranks) if outcomes[rank] is None]:
            ready = wait([child.connection for child in pending], max(0.0, deadline - time.monotonic()))
            for child in pending if ready else ():
                if child.connection in ready:
                    outcomes[ranks.index(child)] = outcome = _outcome(child)
                    if outcome[0] != "result" and late == "timeout":
                        deadline, late = min(deadline, time.monotonic() + GRACE_S), "hung"
            if not ready:
                for child in pending:
                    os.kill(child.pid, signal.SIGUSR1)
                time.sleep(0.3)  # for the stacks to be written
                text = (
                    "did not end in time" if late == "timeout" else f"still running {GRACE_S:.0f} s after the failure"
                )
                return [outcome or (late, f"{text}; its stack is below") for outcome in outcomes]
        for child in ranks:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                child.send("release")
        return [outcome for outcome in outcomes if outcome is not None]

    def preload(self, modules: tuple[str, ...]) -> None:
        new = [module for module in modules if module not in self._preloaded]
        if new:
            self._preloaded.update(new)
            if self._server is not None:
                self._server.preload(tuple(new))
                self.close_ranks()

    def _grow(self, n: int) -> None:
        if self._server is None:
            self._server = ForkServer((*_PRELOAD, *sorted(self._preloaded)))
            self._folder = tempfile.TemporaryDirectory(prefix="bionemo-ranks-")
        for rank in range(len(self._ranks), n):
            child = self._server.start(_serve_rank)
            child.send(str(self._output_path(rank)))
            self._ranks.append(child)

    def close_ranks(self) -> None:
        for child in self._ranks:
            child.reap()
        self._ranks.clear()

    def _output_path(self, rank: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name, f"rank{rank}.log")

    def _output(self, rank: int) -> str:
        text = self._output_path(rank).read_text(errors="replace")
        return f"output:\n{text[-_OUTPUT_TAIL:]}" if text.strip() else "no output"


_pool = _Pool()


def _outcome(child: Child) -> tuple[str, Any]:
    try:
        outcome: tuple[str, Any] = child.receive()
        return outcome
    except EOFError:
        return "died", "died without a word (a signal, or the process was ended)"


def _tcp_store() -> Any:
    from torch import distributed

    return distributed.TCPStore(  # type: ignore[attr-defined]  # torch exports it without saying so
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )


def _serve_rank(connection: Connection) -> None:
    """The life of one rank: take calls until the pool closes the pipe."""
    import faulthandler

    output = Path(_receive(connection)).open("wb", buffering=0)  # stays open as the rank's stdout and stderr
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    gc.freeze()  # what was imported before the fork stays: it need not be looked at after each call
    while True:
        try:
            call = _receive(connection)
        except EOFError:
            return
        output.seek(0)
        output.truncate()
        # Anew for each call: Lightning puts back what Python knows of signal handlers, which leaves this one out.
        faulthandler.unregister(signal.SIGUSR1)
        faulthandler.register(signal.SIGUSR1, file=output, all_threads=True)
        try:
            outcome = ("result", _execute(call))
            payload = pickle.dumps(outcome)
        except BaseException:  # noqa: BLE001 pytest.fail and SystemExit are outcomes too
            payload = pickle.dumps(("error", traceback.format_exc()))
            _leave_group()  # at once: it frees the peers that wait for this rank
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(BrokenPipeError):
            connection.send_bytes(payload)
        with contextlib.suppress(EOFError):
            _receive(connection)  # peers may still be talking to this rank: leave when all are through
        _leave_group()


def _receive(connection: Connection) -> Any:
    return pickle.loads(connection.recv_bytes())  # noqa: S301 the pool wrote it


def _execute(call: dict[str, Any]) -> Any:
    import datetime

    import torch

    rank, world_size = str(call["rank"]), str(call["world_size"])
    call["surroundings"].enter()
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    os.environ.update(RANK=rank, LOCAL_RANK=rank, GROUP_RANK="0", NODE_RANK="0", WORLD_SIZE=world_size)
    os.environ.update(LOCAL_WORLD_SIZE=world_size, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(call["master_port"]))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if call["store_port"] is not None:
        store = torch.distributed.TCPStore(  # type: ignore[attr-defined]  # as above
            "127.0.0.1", call["store_port"], is_master=False
        )
        timeout = datetime.timedelta(seconds=call["timeout_s"])
        torch.distributed.init_process_group(
            "gloo", store=store, rank=call["rank"], world_size=call["world_size"], timeout=timeout
        )
    return call["fn"].resolve()(*pickle.loads(call["args"]))  # noqa: S301 the pool wrote it


def _leave_group() -> None:
    """Take down torch's process group and Megatron's groups on top of it."""
    import torch

    if "megatron.core.parallel_state" in sys.modules:
        sys.modules["megatron.core.parallel_state"].destroy_model_parallel()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        gc.collect()  # cycles keep groups alive, each with a thread of gloo that wakes a hundred times a second
