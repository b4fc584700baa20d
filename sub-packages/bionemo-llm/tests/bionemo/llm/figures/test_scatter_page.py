# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The page with a scatter plot: its values without a browser, and drawn by one where there is one."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bionemo.llm.figures.scatter_page import scatter_page


HOSTILE = "</script><script>document.body.dataset.hacked = 1</script>"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "chromium-headless-shell")


def page_of(num_points: int = 3) -> str:
    points = np.stack([np.arange(num_points), np.arange(num_points) ** 2], axis=1) / 3
    ids = [HOSTILE, *(f"P{number}" for number in range(1, num_points))]
    columns = {"id": ids, "length": np.arange(num_points) * 10}
    return scatter_page(points, columns, title="A < B", axes=("one", "two"), color_by="length", note="a note")


def test_values_are_in_the_page_and_no_text_becomes_markup() -> None:
    page = page_of()
    assert page.count("</script>") == 2
    data = json.loads(page.split('id="points">')[1].split("</script>")[0])
    assert data == {
        "x": [0.0, 0.33333, 0.66667], "y": [0.0, 0.33333, 1.33333],
        "columns": {"id": [HOSTILE, "P1", "P2"], "length": [0, 10, 20]}, "axes": ["one", "two"], "colorBy": "length",
    }  # fmt: skip
    assert "<title>A &lt; B</title>" in page
    assert re.findall(r"https?://|src=|href=", page) == []


def test_a_browser_draws_every_point(tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of the browsers {', '.join(BROWSERS)} is installed")
    (tmp_path / "page.html").write_text(page_of(50))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--user-data-dir={tmp_path}/profile"]
    command = [browser, *flags, f"file://{tmp_path}/page.html"]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert 'data-drawn="50"' in drawn
    assert "data-hacked" not in drawn
