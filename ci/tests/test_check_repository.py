# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def checks(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("check_repository")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_sound_repository_has_no_problems(checks: ModuleType, small_repository: Path) -> None:
    assert checks.find_problems(small_repository) == []
    assert checks.main(["--root", str(small_repository)]) == 0


@pytest.mark.parametrize("name", ["new.py", "new.sh", "new.yaml", "requirements-new.txt", "Dockerfile"])
def test_a_file_without_licence_header_is_named(checks: ModuleType, small_repository: Path, name: str) -> None:
    (small_repository / name).write_text("# nothing about a licence\n")
    assert checks.find_problems(small_repository) == [
        f"{name}: its first lines lack the licence header; copy license_header"
    ]
    assert checks.main(["--root", str(small_repository)]) == 1


def test_texts_data_and_empty_files_need_no_header(checks: ModuleType, small_repository: Path) -> None:
    (small_repository / "README.md").write_text("text\n")
    (small_repository / "proteins.fasta").write_text(">a\nMK\n")
    (small_repository / "py.typed").touch()
    (small_repository / "empty.py").touch()
    assert checks.find_problems(small_repository) == []


def test_a_header_far_down_does_not_count(checks: ModuleType, small_repository: Path) -> None:
    header = (small_repository / "sub-packages/bionemo-core/src/bionemo/core/__init__.py").read_text()
    (small_repository / "late.py").write_text("x = 1\n" * 10 + header)
    assert len(checks.find_problems(small_repository)) == 1


def test_a_large_file_is_refused_with_its_size(checks: ModuleType, small_repository: Path) -> None:
    (small_repository / "weights.bin").write_bytes(bytes(200_001))
    (small_repository / "fits.bin").write_bytes(bytes(200_000))
    assert checks.find_problems(small_repository) == ["weights.bin: 200001 bytes, more than 200000; keep it outside"]


def test_ignored_files_are_not_looked_at(checks: ModuleType, small_repository: Path) -> None:
    (small_repository / ".gitignore").write_text("results/\n")
    (small_repository / "results").mkdir()
    (small_repository / "results" / "weights.bin").write_bytes(bytes(200_001))
    assert checks.find_problems(small_repository) == []


@pytest.mark.parametrize("folder", ["src", "tests"])
def test_an_init_file_in_the_namespace_is_refused(checks: ModuleType, small_repository: Path, folder: str) -> None:
    path = small_repository / "sub-packages/bionemo-core" / folder / "bionemo/__init__.py"
    path.touch()
    relative = path.relative_to(small_repository)
    assert checks.find_problems(small_repository) == [f"{relative}: shadows the bionemo namespace; remove it"]


def test_a_package_with_another_version_is_named(checks: ModuleType, small_repository: Path) -> None:
    replace(small_repository / "sub-packages/bionemo-core/pyproject.toml", 'version = "3.0.0"', 'version = "3.0.1"')
    assert checks.find_problems(small_repository) == [
        "sub-packages/bionemo-core/pyproject.toml: version 3.0.1, VERSION says 3.0.0"
    ]


@pytest.mark.parametrize("requirement", ["bionemo-core", "bionemo-core>=3.0.0", "bionemo-core==2.7.1"])
def test_a_sibling_required_otherwise_is_named(checks: ModuleType, small_repository: Path, requirement: str) -> None:
    replace(small_repository / "sub-packages/bionemo-fw/pyproject.toml", "bionemo-core==3.0.0", requirement)
    assert checks.find_problems(small_repository) == [
        f"sub-packages/bionemo-fw/pyproject.toml: {requirement!r}, siblings are required at ==3.0.0"
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("constraints-nemo.txt", "nemo-toolkit==2.7.3", "", "constraints-nemo.txt: no pin nemo-toolkit==..."),
        (
            "sub-packages/bionemo-fw/pyproject.toml",
            "megatron-core==0.15.3",
            "megatron-core==0.16.1",
            "sub-packages/bionemo-fw/pyproject.toml: megatron-core is not ==0.15.3 as in constraints-nemo.txt",
        ),
        (
            ".gitmodules",
            "release = v2.7.3",
            "release = v2.7.2",
            ".gitmodules: 3rdparty/NeMo is not at release v2.7.3 as in constraints-nemo.txt",
        ),
        (
            ".gitmodules",
            "release = core_v0.15.3 0123456789",
            "release = core_v0.15.3 9876543210",
            f"3rdparty/Megatron-LM: the git link is {'0123456789' * 4}, .gitmodules has 9876543210{'0123456789' * 3}; "
            "run 3rdparty/pin_submodules.sh",
        ),
        (
            ".gitmodules",
            "release = v2.7.3",
            "release = v2.7.3 abc",
            "3rdparty/NeMo: the git link is missing, .gitmodules has abc; run 3rdparty/pin_submodules.sh",
        ),
    ],
)
def test_the_places_that_name_nemo_must_agree(
    checks: ModuleType, small_repository: Path, file: str, old: str, new: str, problem: str
) -> None:
    replace(small_repository / file, old, new)
    assert checks.find_problems(small_repository) == [problem]


@pytest.mark.parametrize(
    "line",
    [
        "import bionemo.llm.data",
        "from bionemo.llm import data",
        "from bionemo import llm",
        "def f():\n    import bionemo.llm",
    ],
)
def test_a_test_that_imports_upwards_is_named_with_its_line(
    checks: ModuleType, small_repository: Path, line: str
) -> None:
    path = small_repository / "sub-packages/bionemo-core/tests/bionemo/core/test_core.py"
    text = path.read_text()
    path.write_text(text + line + "\n")
    number = len(text.splitlines()) + len(line.splitlines())
    assert checks.find_problems(small_repository) == [
        f"sub-packages/bionemo-core/tests/bionemo/core/test_core.py:{number}: imports bionemo.llm, which bionemo-core "
        "does not depend on"
    ]


def test_a_test_may_import_the_test_helpers(checks: ModuleType, small_repository: Path) -> None:
    path = small_repository / "sub-packages/bionemo-core/tests/bionemo/core/test_core.py"
    path.write_text(path.read_text() + "from bionemo.testing.kills import anything\n# import bionemo.llm\n")
    assert checks.find_problems(small_repository) == []


def test_links_and_deleted_files_are_passed_over(checks: ModuleType, small_repository: Path) -> None:
    (small_repository / "dangling.py").symlink_to("nowhere")
    assert checks.find_problems(small_repository) == []
