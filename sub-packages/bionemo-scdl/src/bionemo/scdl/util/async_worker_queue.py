# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A pool of workers that hands back results in the order of submission."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any


class AsyncWorkQueue:
    """Runs tasks in threads or processes; an exception becomes that task's result instead of being raised."""

    def __init__(self, max_workers: int = 5, use_processes: bool = False, *, import_main: bool = True) -> None:
        """Start the pool.

        Args:
            max_workers: Tasks that run at the same time.
            use_processes: Processes instead of threads; functions and arguments are then pickled. They are spawned,
                because a forked copy of a threaded process may hang.
            import_main: Whether spawned processes import the script that was started, as Python does; a script without
                ``if __name__ == "__main__"`` then runs again in each. Needed for functions that the script defines.
        """
        self._import_main = import_main
        self.use_processes = use_processes
        self.lock = threading.Lock()
        self.tasks: list[Future[Any]] = []
        self.executor: Executor
        if use_processes:
            import multiprocessing

            self.executor = ProcessPoolExecutor(
                max_workers=max_workers, mp_context=multiprocessing.get_context("spawn")
            )
        else:
            self.executor = ThreadPoolExecutor(max_workers=max_workers)

    def submit_task(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> "Future[Any]":
        """Queue one call.

        Raises:
            RuntimeError: The queue was shut down.
        """
        with self.lock, contextlib.nullcontext() if self._import_main else _without_main():
            future = self.executor.submit(func, *args, **kwargs)
            self.tasks.append(future)
        return future

    def get_completed_tasks(self) -> "list[Future[Any]]":
        """Futures of finished tasks, in order of submission."""
        with self.lock:
            return [task for task in self.tasks if task.done()]

    def get_pending_tasks(self) -> "list[Future[Any]]":
        """Futures of tasks that wait or run, in order of submission."""
        with self.lock:
            return [task for task in self.tasks if not task.done()]

    def get_task_results(self) -> list[Any]:
        """Results, or exceptions, of the finished tasks, in order of submission."""
        return [_outcome(task) for task in self.get_completed_tasks()]

    def wait(self) -> list[Any]:
        """Wait for every task; results, or exceptions, in order of submission."""
        with self.lock:
            tasks = list(self.tasks)
        return [_outcome(task) for task in tasks]

    def shutdown(self, wait: bool = True) -> None:
        """Accept no more tasks and free the workers."""
        self.executor.shutdown(wait=wait)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide from the processes that are spawned where the script lies that was started."""
    main = sys.modules["__main__"]
    hidden = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)  # type: ignore[arg-type]  # names of attributes


def _outcome(task: "Future[Any]") -> Any:
    if task.cancelled():
        return None
    error = task.exception()
    return task.result() if error is None else error
