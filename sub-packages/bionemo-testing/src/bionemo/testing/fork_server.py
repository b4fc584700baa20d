# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A process that imports heavy modules once and then forks ready children on request.

``torch`` takes seconds to import and a fork takes milliseconds, so both the rank pool and the kill runner start their
children here. A child's process id stays reserved (as a zombie) until :meth:`Child.reap`, so no signal can ever reach
a stranger. The server watches the socket to the process that owns it: when that closes, for whatever reason, every
child and all that those children started are killed. POSIX only.
"""

import atexit
import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

from bionemo.core.errors import ConfigError


_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

_is_child = False


@dataclass(frozen=True)
class FunctionName:
    """Where another process finds a function: pytest's test modules are not importable by name, so the file counts."""

    module: str
    file: str | None
    qualname: str

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> "FunctionName":
        """Name a module-level function.

        Raises:
            ConfigError: ``fn`` is a lambda, a nested function or an object without a name.
        """
        qualname = getattr(fn, "__qualname__", None)
        if qualname is None or "<" in qualname:
            name = qualname or repr(fn)
            raise ConfigError(f"{name} cannot run in another process: pass a function of a module's top level.")
        return cls(fn.__module__, getattr(sys.modules.get(fn.__module__), "__file__", None), qualname)

    def resolve(self) -> Callable[..., Any]:
        """Import the module, by its file where its name alone does not lead there, and return the function."""
        module = sys.modules.get(self.module)
        if module is None or (self.file is not None and getattr(module, "__file__", None) != self.file):
            module = sys.modules[self.module] = _import_from(self.module, self.file)
        return functools.reduce(getattr, self.qualname.split("."), module)  # type: ignore[return-value]  # a callable


def _import_from(name: str, file: str | None) -> ModuleType:
    if file is None:
        return importlib.import_module(name)
    if name == "__main__":
        name = "__mp_main__"  # as multiprocessing does it, so that a script's guarded part does not run again
    with contextlib.suppress(ImportError, ValueError):
        module = importlib.import_module(name)
        if getattr(module, "__file__", None) == file:
            return module
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file}: no module can be made of this file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle looks the module's classes up by this name
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Surroundings:
    """What a process takes over from its caller besides arguments."""

    cwd: str
    environ: dict[str, str]
    path: list[str]

    @classmethod
    def here(cls) -> "Surroundings":
        """Describe this process."""
        return cls(str(Path.cwd()), dict(os.environ), list(sys.path))

    def enter(self) -> None:
        """Make this process like the one described."""
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.environ)
        sys.path[:] = self.path


class Child:
    """One forked process and the duplex pipe to it."""

    def __init__(self, server: "ForkServer", pid: int, connection: Connection) -> None:
        self.pid = pid
        self.connection = connection
        self._server = server

    def send(self, message: Any) -> None:
        """Pickle plainly: multiprocessing's pickler passes tensors by shared memory, which dies with a rank."""
        self.connection.send_bytes(pickle.dumps(message))

    def receive(self) -> Any:
        """Wait for one message; EOFError when the child is gone."""
        try:
            return pickle.loads(self.connection.recv_bytes())  # noqa: S301 our own child wrote it
        except ConnectionResetError as error:
            raise EOFError from error

    def reap(self) -> int:
        """Kill the child with all that it started, release its process id and return its exit status (-9: killed)."""
        self.connection.close()
        return self._server.reap(self.pid)


class ForkServer:
    """Start children that find ``preload`` already imported."""

    def __init__(self, preload: tuple[str, ...] = ()) -> None:
        if _is_child:
            raise ConfigError("A child of a fork server cannot start another one: is a script's main part unguarded?")
        ours, theirs = socket.socketpair()
        with theirs:
            # A session of its own: a signal to the whole test run must not take away the one who tidies up after it.
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), *preload],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        self._control = ours
        atexit.register(self.close)

    def start(self, fn: Callable[..., None]) -> Child:
        """Fork a child that runs ``fn(connection)`` in the caller's working folder and environment."""
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self._ask({"fn": FunctionName.of(fn), "surroundings": Surroundings.here()}, theirs.fileno())
        return Child(self, pid, Connection(ours.detach()))

    def reap(self, pid: int) -> int:
        """See :meth:`Child.reap`."""
        return self._ask({"reap": pid})

    def preload(self, modules: tuple[str, ...]) -> None:
        """Import more modules for the children still to come."""
        self._ask({"preload": modules})

    def close(self) -> None:
        """End the server and every child it still has."""
        atexit.unregister(self.close)
        self._control.close()
        self._process.wait()

    def _ask(self, request: dict[str, Any], *fds: int) -> int:
        payload = pickle.dumps(request)
        try:
            socket.send_fds(self._control, [len(payload).to_bytes(8, "big")], fds)
            self._control.sendall(payload)
            answer = self._control.recv(8, socket.MSG_WAITALL)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        if len(answer) < 8:
            raise ChildProcessError(f"The fork server ended with status {self._process.wait()}; see its output above.")
        return int.from_bytes(answer, "big", signed=True)


@functools.cache
def fork_server(preload: tuple[str, ...] = ()) -> ForkServer:
    """The session's server for this set of modules."""
    return ForkServer(preload)


def _serve(control: socket.socket) -> None:
    """Answer requests until the owner closes its end, then kill what is left."""
    children: set[int] = set()
    _adopt_orphans()
    try:
        while True:
            header, fds, _, _ = socket.recv_fds(control, 8, 1)
            if len(header) < 8:
                return
            payload = control.recv(int.from_bytes(header, "big"), socket.MSG_WAITALL)
            request = pickle.loads(payload)  # noqa: S301 the owner wrote it
            if "reap" in request:
                children.discard(request["reap"])
                answer = _reap(request["reap"])
            elif "preload" in request:
                _preload(request["preload"])
                answer = 0
            else:
                answer = os.fork()
                if answer == 0:
                    control.close()
                    children.clear()
                    _run_child(request, Connection(fds[0]))
                children.add(answer)
            for fd in fds:
                os.close(fd)
            control.sendall(answer.to_bytes(8, "big", signed=True))
    finally:
        for pid in children:
            _reap(pid)


def _reap(pid: int) -> int:
    for kill in (os.killpg, os.kill):  # its session, or itself if it was too young to have one
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ChildProcessError):
        while True:  # what it had started is ours now, and is given time to die
            os.waitpid(-pid, 0)
    return status


def _adopt_orphans() -> None:
    """Become the parent of the processes that a dead child leaves behind, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _run_child(request: dict[str, Any], connection: Connection) -> None:
    """Become the child: never returns, and leaves nothing of the server behind."""
    global _is_child
    _is_child, status = True, 1
    try:
        os.setsid()
        request["surroundings"].enter()
        request["fn"].resolve()(connection)
        status = 0
    except BaseException:  # noqa: BLE001 a forked child may not run the server's clean-up, so nothing passes here
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _preload(modules: tuple[str, ...]) -> None:
    for module in modules:
        with contextlib.suppress(ImportError):  # an absent optional module fails where it is used, with a better text
            importlib.import_module(module)


if __name__ == "__main__":
    from bionemo.testing import fork_server as canonical  # not "__main__": pickled names must resolve

    canonical._preload(tuple(sys.argv[2:]))
    canonical._serve(socket.socket(fileno=int(sys.argv[1])))
