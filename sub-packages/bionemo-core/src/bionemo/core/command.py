# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The skeleton of every command: flags and YAML to a config, the job imported after that, one exit code.

Exit codes: 0 done, 1 failed run, 2 bad input, 130 interrupted. stdout carries the result, stderr everything else.
An error is one line; ``--debug`` shows its traceback.
"""

import contextlib
import dataclasses
import importlib
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from bionemo.core._config_parser import distribution_of, version_line
from bionemo.core.config import parse
from bionemo.core.errors import EXIT_FAILED_RUN, BionemoError, ConfigError
from bionemo.core.interrupts import EXIT_INTERRUPTED, raise_on_interrupt
from bionemo.core.openmp import prefer_short_spin
from bionemo.core.ranks import process_rank


ConfigT = TypeVar("ConfigT")

_WORKER_TRACEBACK = "Original Traceback (most recent call last):"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(Generic[ConfigT]):
    """A console script: call it with arguments (those of this process unless given), get the exit code.

    Attributes:
        config_class: Settings of the job; each field is a flag, see :mod:`bionemo.core.config`.
        job: ``"module:function"``, imported after the flags have been checked, or the function itself. It is called
            with the config. An int that it returns is the exit code; anything else but None is printed to stdout.
        prog: Name of the command in ``--help`` and in messages.
        check: Raises ConfigError where settings contradict each other.
        prepare: Called before the job is imported.
        example: A command line that ``--help`` shows at its end; lines but the last end in a backslash.
    """

    config_class: type[ConfigT]
    job: str | Callable[[ConfigT], Any]
    prog: str
    check: Callable[[ConfigT], None] | None = None
    prepare: Callable[[], None] | None = None
    example: str | None = None

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the command and return its exit code; ``--help`` and ``--version`` raise SystemExit(0)."""
        return run_command(self.run, argv, prog=self.prog)

    def parse(self, argv: Sequence[str]) -> ConfigT:
        """Build and check the config that the arguments describe.

        Raises:
            ConfigError: A flag, a key or a value is wrong, or settings contradict each other.
        """
        config = parse(self.config_class, argv, prog=self.prog, example=self.example)
        if self.check is not None:
            self.check(config)
        return config

    def run(self, argv: Sequence[str]) -> int:
        """Parse, import the job, run it and print what it made; errors are raised."""
        config = self.parse(argv)
        prefer_short_spin()
        if self.prepare is not None:
            self.prepare()
        job = _load_job(self.job)
        raise_on_interrupt()
        result = job(config)
        if isinstance(result, int):
            return result
        if result is not None:
            print_result(result)
        return 0


def command(
    config_class: type[ConfigT],
    job: str | Callable[[ConfigT], Any],
    *,
    prog: str,
    check: Callable[[ConfigT], None] | None = None,
    prepare: Callable[[], None] | None = None,
    example: str | None = None,
) -> Command[ConfigT]:
    """Build the ``main`` of a console script; see :class:`Command` for the arguments.

    >>> main = command(TrainESM2Config, "bionemo.esm2.train:train", prog="train_esm2")  # doctest: +SKIP
    """
    return Command(config_class=config_class, job=job, prog=prog, check=check, prepare=prepare, example=example)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandGroup:
    """A console script whose first argument names one of several commands, as in ``example_model train``.

    Attributes:
        prog: Name of the script.
        commands: First argument to command.
    """

    prog: str
    commands: Mapping[str, Command[Any]]

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the named command and return its exit code."""
        return run_command(self.run, argv, prog=self.prog)

    def run(self, argv: Sequence[str]) -> int:
        """Run the named command; errors are raised.

        Raises:
            ConfigError: There is no such command.
        """
        if argv and argv[0] in ("-h", "--help"):
            sys.stdout.write(self.help())
            return 0
        if argv and argv[0] == "--version":
            first = next(iter(self.commands.values()))
            sys.stdout.write(version_line(self.prog, distribution_of(first.config_class)) + "\n")
            return 0
        if not argv or argv[0] not in self.commands:
            found = argv[0] if argv else "no step"
            raise ConfigError(f"{found}: expected one of {', '.join(self.commands)}, then its flags.")
        return self.commands[argv[0]].run(argv[1:])

    def help(self) -> str:
        """Return what ``--help`` prints: the commands, a line each, and an example."""
        width = max(map(len, self.commands)) + 2
        first = next(iter(self.commands))
        lines = [
            f"usage: {self.prog} {{{','.join(self.commands)}}} [--flag value ...]",
            "",
            *(f"  {name:<{width}}{summary(each.config_class)}" for name, each in self.commands.items()),
            "",
            f"Flags of each: {self.prog} {first} --help",
        ]
        return "\n".join(lines) + "\n"


def summary(config_class: type) -> str:
    """Return the first paragraph of a config's docstring: what its command does."""
    return " ".join((inspect.getdoc(config_class) or "").split("\n\n")[0].split())


def _load_job(job: str | Callable[[ConfigT], Any]) -> Callable[[ConfigT], Any]:
    if callable(job):
        return job
    module, _, name = job.partition(":")
    function: Callable[[ConfigT], Any] = getattr(importlib.import_module(module), name)
    return function


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
