# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The picture of the layers is drawn from the imports, and the one that is checked in is current."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest


pytest.importorskip("grimp", reason="import-linter's graph is a developer's tool, installed in .venv only")
networkx = pytest.importorskip("networkx")

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "draw_layers.py"
PICTURE = SCRIPT.parents[1] / "docs" / "assets" / "images" / "layers.svg"
# Prints where a small graph is drawn: packages above what they import, rooms in their package.
DRAW_SMALL = """
import sys
sys.path.insert(0, sys.argv[1])
import networkx
from draw_layers import draw
edges = [("llm.model.a", "core.errors"), ("esm2.train", "llm.model.a"), ("esm2.train", "core.errors")]
print(draw(networkx.DiGraph((f"bionemo.{a}", f"bionemo.{b}") for a, b in edges)))
"""


def test_the_picture_is_current() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert PICTURE.stat().st_size < 200_000


def test_packages_stand_above_what_they_import_and_hold_their_rooms() -> None:
    command = [sys.executable, "-c", DRAW_SMALL, str(SCRIPT.parent)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    root = ElementTree.fromstring(text)
    words = [(element.text, float(element.get("y", 0))) for element in root.iter() if element.tag.endswith("}text")]
    heights = dict(words)
    assert heights["esm2"] < heights["llm"] < heights["core"]
    assert [word for word, _ in words] == ["core", "*.py", "esm2", "*.py", "llm", "model"]
    assert len(re.findall("marker-end", text)) == 2  # esm2 to core follows from the two others
