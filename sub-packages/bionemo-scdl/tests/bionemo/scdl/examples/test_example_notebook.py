# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from pathlib import Path


EXAMPLES = Path(__file__).parents[4] / "examples"
SCRIPT, NOTEBOOK = EXAMPLES / "example_notebook.py", EXAMPLES / "example_notebook.ipynb"


def test_the_tutorial_runs_from_top_to_bottom(tmp_path):
    environment = os.environ | {"MPLBACKEND": "Agg", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, str(SCRIPT)], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "700 cells, 765 genes" in done.stdout
    assert "problems found by reading every file: []" in done.stdout
    assert (tmp_path / "pbmc_archive" / "data.npy").stat().st_size % 2 == 0


def test_the_notebook_is_the_script():
    """The rendered cells hold the script's text; ``docs/scripts/render_notebooks.py`` makes them."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    script = SCRIPT.read_text(encoding="utf-8")
    for cell in notebook["cells"]:
        for line in "".join(cell["source"]).splitlines():
            assert (f"# {line}".rstrip() if cell["cell_type"] == "markdown" else line) in script
    assert sum(cell["cell_type"] == "code" for cell in notebook["cells"]) == script.count("# %%\n")
