# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import subprocess
import sys
from pathlib import Path

import pytest


pytest.importorskip("grimp", reason="import-linter's graph is a developer's tool, installed in .venv only")

MODULES = {
    "top": "import bionemo.small.lazy",
    "lazy": "def f():\n    from bionemo.small import typed\n    return typed",
    "typed": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bionemo.small.string import X",
    "string": 'X = "bionemo.small.top:main"',
    "alone": "import bionemo.small.top",
}


def run_check(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).resolve().parents[1] / "scripts" / "check_import_circles.py"
    return subprocess.run([sys.executable, script, "--root", root, *arguments], capture_output=True, text=True)


def write_package(root: Path, modules: dict[str, str]) -> None:
    package = root / "sub-packages" / "bionemo-small" / "src" / "bionemo" / "small"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text + "\n")


def test_imports_of_all_four_kinds_close_a_circle(tmp_path: Path) -> None:
    write_package(tmp_path, MODULES)
    done = run_check(tmp_path, "--max-circles", "0")
    assert done.returncode == 1
    names = ", ".join(f"bionemo.small.{name}" for name in ("lazy", "string", "top", "typed"))
    assert done.stdout.splitlines()[0].strip() == f"4 modules: {names}"
    assert "1 import circles (at most 0), the largest of 4 modules" in done.stdout
    assert "move what both sides need" in done.stderr


@pytest.mark.parametrize("removed", ["top", "lazy", "typed", "string"])
def test_without_one_of_them_there_is_none(removed: str, tmp_path: Path) -> None:
    write_package(tmp_path, MODULES | {removed: "X = 0"})
    done = run_check(tmp_path, "--max-circles", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 import circles" in done.stdout


def test_one_large_circle_is_refused_as_many_are(tmp_path: Path) -> None:
    write_package(tmp_path, MODULES)
    assert run_check(tmp_path, "--max-circles", "1", "--max-modules", "4").returncode == 0
    assert run_check(tmp_path, "--max-circles", "1", "--max-modules", "3").returncode == 1


def test_each_circle_of_this_repository_stays_for_a_reason() -> None:
    done = run_check(Path(__file__).resolve().parents[2])
    assert done.returncode == 0, done.stderr
    assert "no reason" not in done.stdout
