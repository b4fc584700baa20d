# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The README's Python example does what its comments say."""

import re
from pathlib import Path

import pytest


README = Path(__file__).parents[3] / "README.md"


def test_python_example_prints_what_it_says(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(code, str(README), "exec"), {})
    said = re.findall(r"^print\(.*\)  # (.*)$", code, flags=re.MULTILINE)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(said) == 2
    assert all(comment.startswith(line) for comment, line in zip(said, printed, strict=True))
    transformers = pytest.importorskip("transformers")
    assert transformers.EsmForMaskedLM.from_pretrained(tmp_path / "my-esm2").config.num_hidden_layers == 6
