# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The tutorials of ESM-2 run from top to bottom, shortened; their notebooks are the scripts, with their pictures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


GUIDE = Path(__file__).resolve().parents[1] / "docs" / "user-guide"
SHARED = Path(__file__).resolve().parents[3] / "shared/data"
PAGES = {
    "esm2-variants": ["exit code 0", "30 residues, 570 measured variants", "spearman"],
    "esm2-contacts": ["exit code 0", "jacobian"],
}


def run_page(page: str, folder: Path, **extra: str) -> str:
    environment = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "TUTORIAL_STEPS": "20"} | extra
    done = subprocess.run(
        [sys.executable, "-W", "ignore", GUIDE / f"{page}.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_runs(page: str, tmp_path: Path) -> None:
    if page == "esm2-contacts":
        pytest.importorskip("gemmi")
    printed = run_page(page, tmp_path)
    for line in PAGES[page]:
        assert line in printed


@pytest.mark.nightly
def test_the_variants_page_runs_on_the_real_assay(tmp_path: Path) -> None:
    assay, proteins = SHARED / "beta_lactamase_P62593_variants.csv.gz", SHARED / "uniref90_9k.fasta.gz"
    if not assay.exists():
        pytest.skip(f"no {assay.name} here")
    printed = run_page("esm2-variants", tmp_path, TUTORIAL_VARIANTS=str(assay), TUTORIAL_PROTEINS=str(proteins))
    assert "286 residues, 5198 measured variants" in printed


@pytest.mark.parametrize("page", PAGES)
def test_the_notebook_is_the_script_with_its_picture(page: str) -> None:
    notebook = json.loads((GUIDE / f"{page}.ipynb").read_text(encoding="utf-8"))
    script = (GUIDE / f"{page}.py").read_text(encoding="utf-8")
    for cell in notebook["cells"]:
        for line in "".join(cell["source"]).splitlines():
            assert (f"# {line}".rstrip() if cell["cell_type"] == "markdown" else line) in script
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
