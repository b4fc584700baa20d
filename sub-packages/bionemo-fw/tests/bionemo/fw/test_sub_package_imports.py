# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""With the meta package installed every package is there, at its version, and imports lightly."""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement


try:
    FW_VERSION = version("bionemo-fw")
except PackageNotFoundError:
    pytest.skip("bionemo-fw needs NeMo and is installed in .venv-nemo only", allow_module_level=True)

pytestmark = pytest.mark.nemo_env

SUB_PACKAGES = ("core", "esm2", "example_model", "geneformer", "llm", "scdl", "testing", "webdatamodule")
HEAVY = (
    "torch",
    "lightning",
    "megatron",
    "nemo",
    "scipy",
    "pandas",
    "anndata",
    "matplotlib",
    "pyarrow",
    "transformers",
)
CONSTRAINTS = Path(__file__).resolve().parents[5] / "constraints-nemo.txt"


def declared() -> dict[str, Requirement]:
    requirements = [Requirement(line) for line in requires("bionemo-fw") or []]
    return {requirement.name: requirement for requirement in requirements if requirement.marker is None}


def modules_loaded_by(*names: str) -> set[str]:
    """Import the modules in a new interpreter and return the top-level names that came with them."""
    code = "import json, sys; [__import__(n) for n in sys.argv[1:]]; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("name", SUB_PACKAGES)
def test_every_sub_package_is_installed_at_the_version_of_fw(name: str) -> None:
    assert version(f"bionemo-{name}") == FW_VERSION
    assert str(declared()[f"bionemo-{name}"].specifier) == f"=={FW_VERSION}"


def test_every_sub_package_imports_without_heavy_modules() -> None:
    loaded = modules_loaded_by("bionemo.fw", *(f"bionemo.{name}" for name in SUB_PACKAGES))
    assert loaded.isdisjoint(HEAVY), sorted(loaded.intersection(HEAVY))


def test_the_check_for_heavy_modules_sees_them() -> None:
    assert "scipy" in modules_loaded_by("scipy")


def test_llm_comes_with_its_nemo_extra() -> None:
    assert declared()["bionemo-llm"].extras == {"nemo"}


@pytest.mark.parametrize("name", ["nemo-toolkit", "megatron-core"])
def test_nemo_and_megatron_are_the_releases_of_the_constraints(name: str) -> None:
    pinned = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    assert str(declared()[name].specifier) == f"=={pinned[name]}"
    assert version(name) == pinned[name]
