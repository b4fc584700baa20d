# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The README's examples run, one after the other."""

import re
from pathlib import Path


README = Path(__file__).parents[3] / "README.md"


def test_python_examples(capsys):
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 3
    assert names["samples"][2_500_000_000][0] == 2
    assert names["lengths"][names["pack"].idxs].sum() <= 4096
    assert capsys.readouterr().out == "lr: 0.001\npack: false\n\n"
