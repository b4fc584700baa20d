# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


CONSTRAINTS = ["constraints.txt", "constraints-nemo.txt"]


def pins(path: Path) -> dict[str, Version]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def floors(path: Path) -> list[Requirement]:
    return [Requirement(line.split("#")[0]) for line in path.read_text().splitlines() if line and line[0] != "#"]


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_pins_are_plain_versions_and_torch_is_among_them(root: Path, name: str) -> None:
    found = pins(root / name)
    assert str(found["torch"]) == "2.13.0"
    assert all(version.local is None for version in found.values())
    assert not any(package.startswith("bionemo") for package in found)


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_pins_stay_above_the_floors_of_known_weaknesses(root: Path, name: str) -> None:
    found = pins(root / name)
    checked = 0
    for floor in floors(root / "requirements-cve.txt"):
        version = found.get(canonicalize_name(floor.name))
        checked += version is not None
        assert version is None or version in floor.specifier, (
            f"{name}: {floor.name} {version}, needs {floor.specifier}"
        )
    assert checked >= 10


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_every_direct_requirement_is_pinned_within_its_range(root: Path, name: str) -> None:
    found = pins(root / name)
    files = ["requirements-test.txt"]
    if name == "constraints.txt":
        files += ["requirements-dev.txt", "docs/requirements.txt"]
    requirements = [
        Requirement(line)
        for file in files
        for line in (root / file).read_text().splitlines()
        if line and not line.startswith(("#", "-r"))
    ]
    assert len(requirements) >= 6
    for requirement in requirements:
        assert found[canonicalize_name(requirement.name)] in requirement.specifier, str(requirement)


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_third_party_list_names_every_pinned_package_that_is_installed(root: Path, name: str) -> None:
    lines = (root / "LICENSE" / "third_party.txt").read_text().splitlines()
    listed = {canonicalize_name(line.split(" | ")[0]): line for line in lines if line.count(" | ") == 2}
    missing = pins(root / name).keys() - listed.keys()
    assert not missing, f"run ci/scripts/list_third_party.py in both environments: {sorted(missing)}"


def test_a_package_that_relies_on_weights_only_needs_a_torch_in_which_it_is_safe(root: Path) -> None:
    """Before 2.6, ``torch.load(weights_only=True)`` could be made to run code."""
    relying = []
    for project in sorted(root.glob("sub-packages/*/pyproject.toml")):
        if any("weights_only" in path.read_text(encoding="utf-8") for path in project.parent.glob("src/**/*.py")):
            declared = map(Requirement, tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"])
            (torch,) = (requirement for requirement in declared if requirement.name == "torch")
            assert "2.5.1" not in torch.specifier, project
            relying.append(project.parent.name)
    assert relying == ["bionemo-esm2", "bionemo-llm", "bionemo-webdatamodule"]
