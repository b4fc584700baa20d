# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The tutorials of Geneformer run from top to bottom, shortened; nightly they are rendered in full and compared."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


GUIDE = Path(__file__).resolve().parents[1] / "docs" / "user-guide"
PAGES = {
    "geneformer-pbmc": ["700 cells of 185 to 411 tokens", "(700, 64) float32", "PCA          macro-F1 0.7"],
    "geneformer-perturbation": ["of 40 cells", "config.yaml shifts.parquet states.json statistics.csv volcano.png"],
}


@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_runs(page: str, tmp_path: Path) -> None:
    pytest.importorskip("scanpy")
    environment = os.environ | {"MPLBACKEND": "Agg", "TUTORIAL_STEPS": "10"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", GUIDE / f"{page}.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for line in PAGES[page]:
        assert line in done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_the_notebook_is_the_script_with_its_pictures(page: str) -> None:
    notebook = json.loads((GUIDE / f"{page}.ipynb").read_text(encoding="utf-8"))
    script = (GUIDE / f"{page}.py").read_text(encoding="utf-8")
    for cell in notebook["cells"]:
        for line in "".join(cell["source"]).splitlines():
            assert (f"# {line}".rstrip() if cell["cell_type"] == "markdown" else line) in script
    assert sum(cell["cell_type"] == "code" for cell in notebook["cells"]) == script.count("# %%\n")
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
