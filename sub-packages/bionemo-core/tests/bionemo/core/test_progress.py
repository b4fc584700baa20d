# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import io
import re

import pytest

from bionemo.core.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_bar_on_a_terminal_shows_description_unit_and_total(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert list(progress_bar(range(3), unit="cell", description="Reading")) == [0, 1, 2]
    assert "Reading" in terminal.getvalue()
    assert "3.00/3.00" in terminal.getvalue()
    assert "cell" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_a_line_a_minute_without_a_terminal(monkeypatch, caplog, capsys):
    seconds = iter(range(0, 10_000, 20))  # each look at the clock is 20 s after the one before
    monkeypatch.setattr("tqdm.std.time", lambda: next(seconds))
    caplog.set_level("INFO", logger="bionemo.core.progress")
    with progress_bar(total=2000, unit="cell", description="Embedding") as bar:
        for _ in range(10):
            bar.update(100)
    lines = [record.getMessage() for record in caplog.records]
    assert 2 <= len(lines) <= 4
    assert re.fullmatch(r"Embedding: \d00 of 2,000 cell, time left \d+:\d\d(:\d\d)?", lines[0]), lines
    caplog.clear()
    list(progress_bar(range(10), unit="B"))
    assert caplog.records[0].getMessage().startswith("Progress: ")
    assert capsys.readouterr().err == ""


def test_lines_go_to_stderr_where_no_log_is_shown(monkeypatch):
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setattr("bionemo.core.progress.LINE_EVERY_S", 0.0)
    monkeypatch.setattr("logging.Logger.isEnabledFor", lambda *_: False)
    assert list(progress_bar([1, 2], unit="cell")) == [1, 2]
    assert stderr.getvalue().splitlines()[-1].startswith("Progress: 2 of 2 cell")


def test_quick_loops_and_other_ranks_are_silent(monkeypatch):
    quiet = io.StringIO()
    monkeypatch.setattr("sys.stderr", quiet)
    assert list(progress_bar([1, 2])) == [1, 2]
    assert quiet.getvalue() == ""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("RANK", "1")
    with progress_bar(total=10) as bar:
        bar.update(5)
    assert terminal.getvalue() == ""
