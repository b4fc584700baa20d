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
    "esm2-evaluate": ["exit code 0", "assay.csv 996 rows", "linear probe of embeddings", "masked marginals"],
}
ASSAY, STRUCTURES = SHARED / "beta_lactamase_P62593_variants.csv.gz", SHARED / "secondary_structure_1600.csv.gz"
ON_REAL_DATA = {
    "esm2-variants": ({"TUTORIAL_VARIANTS": ASSAY}, "286 residues, 5198 measured variants"),
    "esm2-embeddings": ({"TUTORIAL_STRUCTURES": STRUCTURES}, "738 new proteins"),
    "esm2-finetune": ({"TUTORIAL_STRUCTURES": STRUCTURES}, "1600 proteins"),
    "esm2-evaluate": ({"TUTORIAL_DATA": f"{STRUCTURES}:{ASSAY}"}, "5397 rows: mutant score sequence"),
}
"""Files of each page, and what it prints of them; the contacts page needs structures, which are not there."""


def run_page(page: str, folder: Path, **extra: str) -> str:
    short = {"TUTORIAL_STEPS": "20", "TUTORIAL_EPOCHS": "1", "TUTORIAL_MAX_PROTEINS": "60"}
    environment = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"} | short | extra
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
@pytest.mark.parametrize("page", ON_REAL_DATA)
def test_a_page_runs_on_real_data(page: str, tmp_path: Path) -> None:
    files, expected = ON_REAL_DATA[page]
    proteins = SHARED / "uniref90_9k.fasta.gz"
    if not proteins.exists():
        pytest.skip(f"no {proteins} here")
    environment = {name: str(value) for name, value in files.items()}
    assert expected in run_page(page, tmp_path, TUTORIAL_PROTEINS=str(proteins), **environment)


@pytest.mark.parametrize("page", PAGES)
def test_the_notebook_is_the_script_with_its_picture(page: str) -> None:
    notebook = json.loads((GUIDE / f"{page}.ipynb").read_text(encoding="utf-8"))
    script = (GUIDE / f"{page}.py").read_text(encoding="utf-8")
    for cell in notebook["cells"]:
        for line in "".join(cell["source"]).splitlines():
            assert (f"# {line}".rstrip() if cell["cell_type"] == "markdown" else line) in script
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
