# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The tutorial of ESM-2's embeddings runs, shortened; its notebook is the script, with its picture."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs/docs/user-guide/esm2-embeddings.py"


def test_the_tutorial_runs(tmp_path: Path) -> None:
    environment = os.environ | {
        "MPLBACKEND": "Agg", "TUTORIAL_STEPS": "20", "OMP_NUM_THREADS": "1", "BIONEMO_REPOSITORY": str(ROOT)
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "210 proteins to train on\n210 new proteins\n" in done.stdout
    assert "config.yaml embeddings.html residues sequences.parquet" in done.stdout
    assert re.search(r"^ankyrin-\d+ \(128,\) \(\d+, 128\) \(210, 128\)$", done.stdout, re.MULTILINE)


def test_the_notebook_is_the_script_with_its_picture_and_shows_a_trained_model() -> None:
    notebook = json.loads(SCRIPT.with_suffix(".ipynb").read_text(encoding="utf-8"))
    script = SCRIPT.read_text(encoding="utf-8")
    for cell in notebook["cells"]:
        for line in "".join(cell["source"]).splitlines():
            assert (f"# {line}".rstrip() if cell["cell_type"] == "markdown" else line) in script
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    printed = "".join("".join(output.get("text", [])) for output in outputs)
    embeddings, composition = map(float, re.search(r"embeddings ([\d.]+), composition ([\d.]+)", printed).groups())
    assert embeddings > 0.95
    assert 0 < composition <= 1
