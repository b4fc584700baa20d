# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import io

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


def test_bar_is_silent_without_a_terminal_and_on_other_ranks(monkeypatch):
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
