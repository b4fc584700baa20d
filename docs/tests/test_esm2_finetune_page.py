# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The fine-tuning tutorial of ESM-2 runs, shortened; its notebook is the script, with its picture."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path


GUIDE = Path(__file__).resolve().parents[1] / "docs" / "user-guide"
SCRIPT = GUIDE / "esm2-finetune.py"


def test_the_tutorial_runs(tmp_path: Path) -> None:
    environment = os.environ | {
        "MPLBACKEND": "Agg", "TUTORIAL_STEPS": "20", "TUTORIAL_EPOCHS": "2", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"accuracy (0\.\d+), most frequent state of each amino acid (0\.\d+)", done.stdout)
    assert found, done.stdout
    assert float(found[1]) > 0.4
    assert 0.4 < float(found[2]) < 0.8
    assert "300 proteins" in done.stdout
    assert "  predicted" in done.stdout


def test_the_notebook_is_the_script_with_its_picture() -> None:
    notebook = json.loads(SCRIPT.with_suffix(".ipynb").read_text(encoding="utf-8"))
    script = SCRIPT.read_text(encoding="utf-8")
    for cell in notebook["cells"]:
        for line in "".join(cell["source"]).splitlines():
            assert (f"# {line}".rstrip() if cell["cell_type"] == "markdown" else line) in script
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
