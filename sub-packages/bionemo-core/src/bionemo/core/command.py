# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What every command does around its work: logging, exit codes, and one line instead of a traceback.

Exit codes: 0 done, 1 failed run, 2 bad input, 130 interrupted. stdout carries the result, stderr everything else.
"""

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bionemo.core.errors import EXIT_FAILED_RUN, BionemoError
from bionemo.core.ranks import process_rank


EXIT_INTERRUPTED = 130  # 128 + SIGINT, what a shell reports

_WORKER_TRACEBACK = "Original Traceback (most recent call last):"


def run_command(
    main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None, *, prog: str | None = None
) -> int:
    """Run a command's work and turn its outcome into an exit code.

    Args:
        main: The work; gets the arguments and returns an exit code, None meaning 0.
        argv: Arguments without the program's name; those of this process unless given. ``--debug`` among them shows
            tracebacks and logs in detail; :func:`bionemo.core.config.parse` accepts it for every config.
        prog: Name of the command in messages; the name it was called by unless given.

    Returns:
        What to hand to ``sys.exit``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = prog or Path(sys.argv[0]).name
    debug = "--debug" in arguments
    with _logging_to_stderr(debug=debug):
        try:
            status = main(arguments) or 0
            sys.stdout.flush()
            return status
        except KeyboardInterrupt:
            return _report(f"{name}: interrupted", EXIT_INTERRUPTED, debug=debug)
        except BrokenPipeError:
            # The reader of our output went away (`| head`): silence the flush at exit, there is nobody to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_FAILED_RUN
        except BionemoError as error:
            return _report(f"{name}: error: {_one_line(error)}", error.exit_code, debug=debug)
        except Exception as error:  # noqa: BLE001 the one place where every failure becomes a line and an exit code
            line = f"{name}: error: {type(error).__name__}: {_one_line(error)} (--debug shows the traceback)"
            return _report(line, EXIT_FAILED_RUN, debug=debug)


def print_result(result: object) -> None:
    """Write what a command made, such as a path, to stdout: on the first rank alone."""
    if process_rank() == 0:
        sys.stdout.write(f"{result}\n")


def _report(line: str, status: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    sys.stderr.write(line + "\n")
    return status


def _one_line(error: BaseException) -> str:
    text = str(error)
    if _WORKER_TRACEBACK in text:  # a data loader's worker failed: its last line is "package.Class: message"
        text = text.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(text.split())


@contextlib.contextmanager
def _logging_to_stderr(*, debug: bool) -> Iterator[None]:
    """Show our packages' log from INFO (DEBUG) up and others' warnings; on other ranks than 0 warnings only."""
    rank = process_rank()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s rank {rank} %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")
    )
    root, ours = logging.getLogger(), logging.getLogger("bionemo")
    level_before = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.WARNING if rank != 0 else logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        ours.setLevel(level_before)
