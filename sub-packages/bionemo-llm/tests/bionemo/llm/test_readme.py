# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The README's examples run as written, and print what their comments say."""

import importlib
import re
from pathlib import Path

import pytest

from bionemo.testing.import_check import list_modules


README = Path(__file__).parents[3] / "README.md"


def test_examples_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert len(blocks) == 3
    expected = [
        line.split("  # ")[1].split(":")[0]
        for block in blocks
        for line in block.splitlines()
        if line.startswith("print(")
    ]
    assert capsys.readouterr().out.splitlines() == expected
    assert (tmp_path / "loss.png").stat().st_size > 10_000
    # Random weights: the loss is near that of guessing, ln 33 = 3.497.
    assert (names["loss_sum"] / names["num_labelled"]).item() == pytest.approx(3.5, abs=0.2)
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1:] == ["1,,,4096,,3.49,,3.47,,"]


def test_table_names_modules_that_exist():
    table = README.read_text().split("## Where things are")[1]
    known = set(list_modules("bionemo.llm"))
    for cell in re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cell):
            package, _, group = name.partition("{")
            for leaf in group.rstrip("}").split(",") if group else [""]:
                module = f"bionemo.llm.{package}{leaf}".removesuffix(".*")
                assert module in known, name
                assert importlib.util.find_spec(module) is not None
