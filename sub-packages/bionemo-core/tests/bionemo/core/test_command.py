# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import logging
import subprocess
import sys
from dataclasses import dataclass

import pytest

from bionemo.core.command import CommandGroup, command, print_result, run_command
from bionemo.core.config import option
from bionemo.core.errors import CheckpointError, ConfigError, DataError, ResourceError


@dataclass(frozen=True, kw_only=True)
class CountConfig:
    """Count to a number."""

    to: int = option(3, help="Where to stop.")


def refuse_13(config):
    if config.to == 13:
        raise ConfigError("--to 13: brings bad luck.")


def raising(error):
    def main(argv):
        raise error

    return main


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_exit_code_of_the_work(returned, status, capsys):
    assert run_command(lambda argv: returned, [], prog="p") == status
    assert capsys.readouterr() == ("", "")


def test_arguments_reach_the_work(monkeypatch):
    seen = []
    run_command(seen.append, ["--x", "1"], prog="p")
    monkeypatch.setattr(sys, "argv", ["/usr/bin/p", "--y"])
    run_command(seen.append)
    assert seen == [["--x", "1"], ["--y"]]


def test_the_first_rank_alone_prints_the_result(monkeypatch, capsys):
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        print_result(f"made by rank {rank}")
    assert capsys.readouterr() == ("made by rank 0\n", "")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (DataError("a.fa: record 3:\n  no residues"), 2, "p: error: a.fa: record 3: no residues"),
        (CheckpointError("x"), 2, "p: error: x"),
        (ResourceError("x"), 1, "p: error: x"),
        (RuntimeError("boom\nmore"), 1, "p: error: RuntimeError: boom more (--debug shows the traceback)"),
        (KeyboardInterrupt(), 130, "p: interrupted"),
    ],
)
def test_errors_are_one_line(error, status, line, capsys):
    assert run_command(raising(error), [], prog="p") == status
    assert capsys.readouterr() == ("", line + "\n")


def test_debug_shows_the_traceback(capsys):
    assert run_command(raising(DataError("x")), ["--debug"], prog="p") == 2
    text = capsys.readouterr().err
    assert "Traceback (most recent call last)" in text
    assert text.endswith("p: error: x\n")


def test_name_is_that_of_the_program(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/train_it"])
    run_command(raising(DataError("x")), [])
    assert capsys.readouterr().err == "train_it: error: x\n"


def test_error_in_a_data_loader_worker_is_its_message(capsys):
    """torch wraps a worker's exception so, to raise it again in the main process."""
    wrapper_class = pytest.importorskip("torch._utils").ExceptionWrapper
    try:
        raise DataError("a.fa: record 0: odd: yes")
    except DataError:
        wrapper = wrapper_class(where="in DataLoader worker process 0")
    assert run_command(lambda argv: wrapper.reraise(), [], prog="p") == 2
    assert capsys.readouterr().err == "p: error: a.fa: record 0: odd: yes\n"


def test_help_leaves_with_its_own_status():
    with pytest.raises(SystemExit) as caught:
        run_command(raising(SystemExit(0)), [], prog="p")
    assert caught.value.code == 0


@pytest.mark.parametrize(
    ("rank", "argv", "shown"),
    [("0", [], ["WARNING", "INFO"]), ("1", [], ["WARNING"]), ("0", ["--debug"], ["WARNING", "INFO", "DEBUG"])],
)
def test_logging(rank, argv, shown, capsys, monkeypatch):
    monkeypatch.setenv("RANK", rank)

    def main(argv):
        logger = logging.getLogger("bionemo.some.module")
        logger.warning("to all")
        logger.info("step %d", 3)
        logger.debug("details")
        logging.getLogger("elsewhere").info("not ours")

    run_command(main, argv, prog="p")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[4] for line in lines] == shown
    assert all(f" rank {rank} " in line and "bionemo.some.module" in line for line in lines)
    run_command(main, argv, prog="p")  # handlers do not pile up
    assert len(capsys.readouterr().err.splitlines()) == len(shown)


def test_closed_pipe_is_silent():
    script = (
        "import sys\nfrom bionemo.core.command import run_command\n"
        "def main(argv):\n    for i in range(100_000): print('a line of output', i)\n"
        "sys.exit(run_command(main, [], prog='p'))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


def test_a_command_checks_flags_then_prepares_then_imports_its_job(tmp_path, monkeypatch, capsys):
    (tmp_path / "job_of_this_test.py").write_text(
        "import sys\nassert 'ready' in sys.argv, 'imported before it was prepared'\n"
        "def count(config): return ' '.join(map(str, range(config.to)))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["p"])
    main = command(
        CountConfig,
        "job_of_this_test:count",
        prog="count",
        check=refuse_13,
        prepare=lambda: sys.argv.append("ready"),
    )
    assert main(["--to", "13"]) == 2
    assert main(["--too", "1"]) == 2
    assert "job_of_this_test" not in sys.modules
    assert sys.argv == ["p"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "count: error: --to 13: brings bad luck.",
        "count: error: --too: no such flag. Did you mean --to? See --help.",
    ]
    assert main(["--to", "4"]) == 0
    assert capsys.readouterr() == ("0 1 2 3\n", "")
    sys.modules.pop("job_of_this_test")


@pytest.mark.parametrize(("result", "status", "out"), [(None, 0, ""), (2, 2, ""), ("a/b", 0, "a/b\n")])
def test_what_a_job_returns(result, status, out, capsys):
    assert command(CountConfig, lambda config: result, prog="count")([]) == status
    assert capsys.readouterr() == (out, "")


def test_first_argument_chooses_among_commands(capsys):
    commands = {name: command(CountConfig, lambda config, n=name: n, prog=f"g {name}") for name in ("one", "two")}
    group = CommandGroup(prog="g", commands=commands)
    assert group(["two", "--to", "1"]) == 0
    assert group(["three"]) == 2
    assert group([]) == 2
    out, err = capsys.readouterr()
    assert out == "two\n"
    assert err.splitlines() == [
        "g: error: three: expected one of one, two, then its flags.",
        "g: error: no step: expected one of one, two, then its flags.",
    ]
