# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def installable(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("check_installable")


def write_wheel(folder: Path, *requirements: str) -> Path:
    """A wheel with nothing in it but its metadata."""
    path = folder / "bionemo_core-3.0.0-py3-none-any.whl"
    lines = "".join(f"Requires-Dist: {requirement}\n" for requirement in requirements)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bionemo_core-3.0.0.dist-info/METADATA", f"Name: bionemo-core\nVersion: 3.0.0\n{lines}")
    return path


def names(distributions: list) -> set[str]:
    return {found.metadata["Name"].lower() for found in distributions}


def test_the_closure_holds_what_is_declared_and_what_that_needs(installable: ModuleType, tmp_path: Path) -> None:
    wheels = {"bionemo-core": write_wheel(tmp_path, "jinja2>=3", 'pandas; python_version < "3"')}
    assert names(installable.closure("bionemo-core", wheels)) == {"jinja2", "markupsafe"}


def test_an_extra_counts_only_when_asked_for(installable: ModuleType, tmp_path: Path) -> None:
    wheels = {"bionemo-core": write_wheel(tmp_path, "markupsafe", 'tqdm; extra == "bar"')}
    assert names(installable.closure("bionemo-core", wheels)) == {"markupsafe"}
    assert names(installable.closure("bionemo-core[bar]", wheels)) == {"markupsafe", "tqdm"}


def test_a_requirement_that_is_not_there_is_named(installable: ModuleType, tmp_path: Path) -> None:
    wheels = {"bionemo-core": write_wheel(tmp_path, "no-such-package>=1")}
    with pytest.raises(
        installable.CheckFailed, match=r"bionemo-core needs no-such-package>=1, which .* does not have"
    ):
        installable.closure("bionemo-core", wheels)


def test_linking_gives_the_library_files_and_no_more(installable: ModuleType, tmp_path: Path) -> None:
    installable.link_distribution(distribution("markupsafe"), tmp_path)
    assert (tmp_path / "markupsafe" / "__init__.py").read_text().strip()
    assert {path.name.split("-")[0].lower() for path in tmp_path.iterdir()} == {"markupsafe"}


def test_a_failing_command_is_shown_with_its_output(installable: ModuleType) -> None:
    with pytest.raises(installable.CheckFailed, match=r"(?s)sh -c echo seen; exit 3 failed:\nseen"):
        installable.run("sh", "-c", "echo seen; exit 3")


def test_a_package_that_fails_does_not_keep_the_next_from_being_checked(
    installable: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(package: str, *_: object, **__: object) -> str:
        if package == "bionemo-core":
            raise installable.CheckFailed("core is broken")
        return f"{package}: installs alone"

    def build_wheels(folder: Path) -> None:
        for name in ("core", "testing"):
            (folder / f"bionemo_{name}-3.0.0-py3-none-any.whl").touch()

    monkeypatch.setattr(installable, "check", check)
    monkeypatch.setattr(installable, "build_wheels", build_wheels)
    assert installable.main(["bionemo-core", "bionemo-testing[lightning]"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "bionemo-testing[lightning]: installs alone\n"
    assert printed.err == "check_installable.py: error: core is broken\n"


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        ("Install it with: pip install 'bionemo-x[fast]'", (0, "1 of 2 modules import, 1 need an extra")),
        ("Install it with: pip install 'lightning'", (1, "1 of 2 modules import")),
    ],
)
def test_a_module_may_be_missing_only_what_an_extra_of_ours_brings(
    installable: ModuleType, tmp_path: Path, message: str, verdict: tuple[int, str]
) -> None:
    package = tmp_path / "bionemo" / "x"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    error = f'class MissingDependencyError(ImportError):\n    pass\nraise MissingDependencyError("{message}")\n'
    (package / "fast.py").write_text(error)
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}]\n" + installable.IMPORT_ALL],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.splitlines()[0]) == verdict
