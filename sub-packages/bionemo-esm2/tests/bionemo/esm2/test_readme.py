# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The README's Python examples do what their comments say."""

import re
from pathlib import Path

import pytest

from bionemo.esm2 import build_esm2, esm2_config, save_esm2
from bionemo.testing.hub_server import HubServer


README = Path(__file__).parents[3] / "README.md"


def test_python_examples_print_what_they_say(tmp_path: Path, monkeypatch, capsys) -> None:
    """The Hub that the first one asks is on the loopback interface and has random weights of the published shape."""
    monkeypatch.chdir(tmp_path)
    save_esm2(build_esm2(esm2_config("8M")), tmp_path / "repo")
    codes = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    code = "".join(codes)
    with HubServer() as hub:
        hub.use(monkeypatch, tmp_path / "cache")
        hub.publish("facebook/esm2_t6_8M_UR50D", tmp_path / "repo")
        for example in codes:
            exec(compile(example, str(README), "exec"), {})
    said = re.findall(r"^print\(.*\)  # (.*)$", code, flags=re.MULTILINE)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(said) == 3
    assert all(comment.startswith(line) for comment, line in zip(said, printed, strict=True))
    transformers = pytest.importorskip("transformers")
    assert transformers.EsmForMaskedLM.from_pretrained(tmp_path / "my-esm2").config.num_hidden_layers == 6
