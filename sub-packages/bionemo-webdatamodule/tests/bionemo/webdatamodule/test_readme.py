# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The tutorial runs as it is printed, and prints what its comments say."""

import re
from pathlib import Path


README = Path(__file__).parents[3] / "README.md"


def test_tutorial(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    names = {"__name__": "tutorial"}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("torch", "{", "20"))]
    position = "{'epoch': 1, 'batches': 2, 'world_size': 1, 'num_workers': 2, 'num_samples': 80}"
    assert lines == ["torch.Size([16, 8]) (16,)"] * 5 + [position, "20"]
    names.clear()  # ends the loader that the tutorial leaves in the middle; the garbage collector would take 10 s
