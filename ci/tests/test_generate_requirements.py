# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


PYPROJECT = """
[project]
name = "bionemo-llm"
dependencies = ["bionemo-core==3.0.0", "bionemo-llm[nemo]==3.0.0", "torch>=2.6", "numpy>=1.26,<3"]
[dependency-groups]
test = ["bionemo-testing==3.0.0", "pytest>=8"]
"""


@pytest.fixture(scope="module")
def generator(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("generate_requirements")


@pytest.fixture
def package_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "bionemo-llm"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    return folder


def test_siblings_become_editable_and_the_rest_goes_to_its_own_file(generator: ModuleType, package_dir: Path) -> None:
    files = generator.render(package_dir / "pyproject.toml")
    lines = {name: [x for x in text.splitlines() if not x.startswith("#")] for name, text in files.items()}
    assert lines == {
        "requirements.txt": ["-e ../bionemo-core", "-e ../bionemo-llm[nemo]", "-r _requirements.txt"],
        "_requirements.txt": ["torch>=2.6", "numpy>=1.26,<3"],
        "_requirements-test.txt": ["-e ../bionemo-testing", "pytest>=8"],
    }


def test_a_package_at_the_bottom_has_one_file(generator: ModuleType, package_dir: Path) -> None:
    path = package_dir / "pyproject.toml"
    path.write_text('[project]\nname = "bionemo-scdl"\ndependencies = ["bionemo-core==3.0.0", "scipy>=1.11"]\n')
    (text,) = generator.render(path).values()
    assert text.endswith("-e ../bionemo-core\nscipy>=1.11\n")


def test_written_files_agree_until_pyproject_changes(
    generator: ModuleType, package_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--packages", str(package_dir.parent)]
    assert generator.main([*arguments, "--check"]) == 1
    assert "requirements.txt: missing" in capsys.readouterr().err
    assert generator.main(arguments) == 0
    assert generator.main([*arguments, "--check"]) == 0
    (package_dir / "pyproject.toml").write_text(PYPROJECT.replace("torch>=2.6", "torch>=2.7"))
    assert generator.main([*arguments, "--check"]) == 1
    assert "_requirements.txt: does not agree with pyproject.toml" in capsys.readouterr().err


def test_a_file_that_nothing_asks_for_is_named(generator: ModuleType, package_dir: Path) -> None:
    generator.main(["--packages", str(package_dir.parent)])
    (package_dir / "pyproject.toml").write_text(PYPROJECT.partition("[dependency-groups]")[0])
    (problem,) = generator.disagreements(package_dir)
    assert problem == f"{package_dir / '_requirements-test.txt'}: generated from nothing in pyproject.toml"
