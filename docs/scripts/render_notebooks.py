#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Render notebooks from light scripts: `tutorial.py` is written by hand, `tutorial.ipynb` beside it is made here.

A script is cut into cells by lines that begin with `# %%` (code) or `# %% [markdown]` (text, each line after `# `).
Every notebook is executed from top to bottom in a new interpreter and an empty folder; printed text, the value of a
cell's last line and matplotlib figures become its outputs. `--check` executes again and compares instead of writing.
"""

import argparse
import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bionemo.core.files import write_text


ROOT = Path(__file__).resolve().parents[2]
NUM_THREADS = "1"
"""Threads of OpenMP: several round sums differently, and a trained model would depend on the number of cores."""
OBJECT_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-f]+>")

# Runs in the new interpreter: reads a list of code cells from stdin, writes the list of their outputs to the file that
# its argument names. Figures are taken after each cell; an exception ends the run with its traceback.
EXECUTE = r"""
import ast, base64, contextlib, io, json, os, sys
os.environ["MPLBACKEND"] = "Agg"
namespace = {"__name__": "__main__"}
results = []
for number, source in enumerate(json.load(sys.stdin), start=1):
    tree = ast.parse(source, filename=f"cell {number}")
    last = tree.body.pop().value if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value, figures = io.StringIO(), None, []
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last), f"cell {number}", "eval"), namespace)
    if "matplotlib.pyplot" in sys.modules:
        pyplot = sys.modules["matplotlib.pyplot"]
        for figure_number in pyplot.get_fignums():
            picture = io.BytesIO()
            pyplot.figure(figure_number).savefig(picture, format="png", dpi=72, metadata={"Software": None})
            figures.append(base64.b64encode(picture.getvalue()).decode())
        pyplot.close("all")
    ends_in_semicolon = source.rstrip().endswith(";")
    shown = None if value is None or ends_in_semicolon else repr(value)
    results.append({"stdout": printed.getvalue(), "value": shown, "figures": figures})
with open(sys.argv[1], "w") as out:
    json.dump(results, out)
"""


def split_cells(text: str, path: Path) -> list[tuple[str, str]]:
    """Cut a script into ("markdown" or "code", source) cells; what stands before the first cut is its header."""
    cells: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("# %%"):
            cells.append(("markdown" if "[markdown]" in line else "code", []))
        elif cells:
            cells[-1][1].append(line)
    if not cells:
        sys.exit(f"render_notebooks.py: error: {path} has no cell; begin one with a line '# %%' or '# %% [markdown]'.")
    uncommented = [
        (kind, [line.removeprefix("#").removeprefix(" ") for line in lines] if kind == "markdown" else lines)
        for kind, lines in cells
    ]
    return [(kind, "\n".join(lines).strip("\n")) for kind, lines in uncommented]


def execute(sources: list[str], path: Path) -> list[dict[str, Any]]:
    """Run the code cells of one notebook and return what each printed, returned and drew."""
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        out_path = Path(folder) / "outputs.json"
        workplace = Path(folder) / "workplace"
        workplace.mkdir()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", EXECUTE, out_path],
            input=json.dumps(sources),
            cwd=workplace,
            env={**os.environ, "BIONEMO_REPOSITORY": str(ROOT), "COLUMNS": "100", "OMP_NUM_THREADS": NUM_THREADS},
            text=True,
            capture_output=True,
        )
        if done.returncode:
            sys.exit(f"render_notebooks.py: error: {path} failed:\n{done.stderr}")
        return json.loads(out_path.read_text())


def cell_outputs(result: dict[str, Any], execution_count: int) -> list[dict[str, Any]]:
    """Describe one cell's outputs in the notebook format."""
    outputs: list[dict[str, Any]] = []
    if result["stdout"]:
        outputs.append({"name": "stdout", "output_type": "stream", "text": result["stdout"].splitlines(keepends=True)})
    for figure in result["figures"]:
        outputs.append({"data": {"image/png": figure}, "metadata": {}, "output_type": "display_data"})
    if result["value"] is not None:
        data = {"text/plain": result["value"].splitlines(keepends=True)}
        entry = {"data": data, "execution_count": execution_count, "metadata": {}, "output_type": "execute_result"}
        outputs.append(entry)
    return outputs


def render(script_path: Path) -> dict[str, Any]:
    """Execute one script and return the notebook."""
    cells = split_cells(script_path.read_text(encoding="utf-8"), script_path)
    results = iter(execute([source for kind, source in cells if kind == "code"], script_path))
    rendered, execution_count = [], 0
    for number, (kind, source) in enumerate(cells):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        if kind == "code":
            execution_count += 1
            result = next(results)
            if found := OBJECT_ADDRESS.search(f"{result['value']} {result['stdout']}"):
                where = f"{script_path}: cell {execution_count}"
                fix = "assign it to _ or print something else"
                sys.exit(f"render_notebooks.py: error: {where} shows {found.group()!r}, new in every run; {fix}.")
            cell |= {"execution_count": execution_count, "outputs": cell_outputs(result, execution_count)}
        rendered.append(cell | {"source": source.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": rendered, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def comparable(notebook: dict[str, Any]) -> dict[str, Any]:
    """Leave out what another machine may draw differently: a figure counts, but not its pixels."""
    copy = json.loads(json.dumps(notebook))
    for cell in copy["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                base64.b64decode(output["data"]["image/png"], validate=True)
                output["data"]["image/png"] = "figure"
    return copy


def scripts_beside_notebooks(root: Path) -> list[Path]:
    """Find the scripts of all notebooks of the repository."""
    places = [root / "docs" / "docs", *sorted((root / "sub-packages").glob("*/examples"))]
    notebooks = [notebook for place in places for notebook in sorted(place.rglob("*.ipynb"))]
    return [notebook.with_suffix(".py") for notebook in notebooks]


def main(argv: list[str] | None = None) -> int:
    """Render or check the scripts named, or those of all notebooks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scripts", nargs="*", type=Path, help="default: the scripts beside all notebooks")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a notebook is out of date")
    args = parser.parse_args(argv)
    status = 0
    for script_path in args.scripts or scripts_beside_notebooks(ROOT):
        if not script_path.is_file():
            sys.exit(f"render_notebooks.py: error: {script_path} does not exist; a notebook is written as a script.")
        notebook_path = script_path.with_suffix(".ipynb")
        notebook = render(script_path)
        if not args.check:
            write_text(notebook_path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        elif not notebook_path.is_file() or comparable(json.loads(notebook_path.read_text())) != comparable(notebook):
            print(f"{notebook_path} is out of date; run docs/scripts/render_notebooks.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
