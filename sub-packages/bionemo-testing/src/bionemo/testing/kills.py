# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL a writer at many moments of its running time and look at what it left behind."""

import os
import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bionemo.testing.fork_server import Child, FunctionName, fork_server


@dataclass(frozen=True)
class Kill:
    """One run of the function, and how far it came."""

    index: int
    after_s: float
    """Seconds from the function's start to SIGKILL, or to its own end."""
    landed: bool
    """False when the function had ended before the kill."""


def kill_runner(
    fn: Callable[..., Any],
    *args: Any,
    check: Callable[[Kill], None],
    prepare: Callable[[], None] | None = None,
    kills: int | None = None,
    seed: int = 0,
    preload: tuple[str, ...] = (),
    timeout_s: float = 60,
) -> list[Kill]:
    """Run ``fn(*args)`` in a child to its end once, then kill it again and again at random moments of that time.

    After every run ``check`` looks at what is there, in this process. The moments are drawn one per equal slice of the
    undisturbed running time, so that few kills cover all of it; one that comes too late is drawn again, closer to the
    start, up to five times.

    Args:
        fn: A module-level function, of a test module too.
        args: Picklable arguments.
        check: Raises when what the child left is wrong. Called after the undisturbed run as well, with ``index`` -1.
        prepare: Called before each run, to set up what the child shall find.
        kills: Number of kills; default: environment variable ``BIONEMO_TEST_KILLS``, else 5.
        seed: Seed of the moments.
        preload: Modules to import once for all children. Without them each child imports what it needs anew.
        timeout_s: Limit of the undisturbed run.

    Returns:
        The kills, in order.

    Raises:
        AssertionError: ``fn`` raised, or not one kill came before its end.
        TimeoutError: The undisturbed run took longer than ``timeout_s``.
    """
    kills = int(os.environ.get("BIONEMO_TEST_KILLS", "5")) if kills is None else kills
    rng = np.random.default_rng([seed, kills])

    def run(index: int, after_s: float) -> Kill:
        if prepare is not None:
            prepare()
        child = fork_server((__name__, *preload)).start(_run)
        try:
            child.send((FunctionName.of(fn), pickle.dumps(args)))
            kill = _kill_after(child, index, after_s)
        finally:
            child.reap()
        check(kill)
        return kill

    undisturbed = run(-1, timeout_s)
    if undisturbed.landed:
        raise TimeoutError(f"{fn.__qualname__} did not end within {timeout_s} s, undisturbed.")
    done = []
    for index in range(kills):
        after_s = undisturbed.after_s * (index + rng.random()) / kills
        kill = run(index, after_s)
        for _ in range(4):
            if kill.landed:
                break
            kill = run(index, min(after_s, kill.after_s) * rng.random())
        done.append(kill)
    if kills and not any(kill.landed for kill in done):
        raise AssertionError(f"{fn.__qualname__} ended before each of {kills} kills: give it more to do.")
    return done


def _kill_after(child: Child, index: int, after_s: float) -> Kill:
    """Let the child work for ``after_s`` seconds from its own start signal."""
    _outcome_of(child)  # the function starts now
    start = time.monotonic()
    if not child.connection.poll(after_s):
        os.kill(child.pid, 9)  # itself first; the rest of its process group follows when it is reaped
        return Kill(index, time.monotonic() - start, landed=True)
    _outcome_of(child)
    return Kill(index, time.monotonic() - start, landed=False)


def _outcome_of(child: Child) -> None:
    try:
        failure = child.receive()
    except EOFError:
        failure = "The child died by itself."
    if failure:
        raise AssertionError(failure)


def _run(connection: Connection) -> None:
    """The child: import what the function needs, say so, run it, say so."""
    name, args = pickle.loads(connection.recv_bytes())  # noqa: S301 the runner wrote it
    failure = None
    try:
        fn = name.resolve()
        arguments = pickle.loads(args)  # noqa: S301 the runner wrote it
        connection.send_bytes(pickle.dumps(None))
        fn(*arguments)
    except BaseException:  # noqa: BLE001 told to the runner, whatever it is
        failure = traceback.format_exc()
    connection.send_bytes(pickle.dumps(failure))
