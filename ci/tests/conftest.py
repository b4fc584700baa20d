# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


ROOT = Path(__file__).resolve().parents[2]
MEGATRON_COMMIT = "0123456789" * 4


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Import a script of ci/scripts by its name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, ROOT / "ci" / "scripts" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def small_repository(tmp_path: Path) -> Path:
    """A git repository with one sound package of ours."""
    header = (ROOT / "license_header").read_text()
    commented = "".join(f"# {line}\n" for line in header.splitlines())
    files = {
        "license_header": header,
        "VERSION": "3.0.0\n",
        "constraints-nemo.txt": commented + "nemo-toolkit==2.7.3\nmegatron-core==0.15.3\n",
        ".gitmodules": commented
        + '[submodule "3rdparty/NeMo"]\n\trelease = v2.7.3\n'
        + f'[submodule "3rdparty/Megatron-LM"]\n\trelease = core_v0.15.3 {MEGATRON_COMMIT}\n',
        "sub-packages/bionemo-core/pyproject.toml": commented
        + '[project]\nname = "bionemo-core"\nversion = "3.0.0"\ndependencies = ["numpy>=1.26"]\n',
        "sub-packages/bionemo-core/src/bionemo/core/__init__.py": commented,
        "sub-packages/bionemo-core/tests/bionemo/core/test_core.py": commented + "import bionemo.core\n",
        "sub-packages/bionemo-fw/pyproject.toml": commented
        + '[project]\nname = "bionemo-fw"\nversion = "3.0.0"\ndependencies = [\n    "bionemo-core==3.0.0",\n'
        + '    "megatron-core==0.15.3",\n    "nemo-toolkit[lightning]==2.7.3",\n]\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    link = f"160000,{MEGATRON_COMMIT},3rdparty/Megatron-LM"
    subprocess.run(["git", "-C", str(tmp_path), "update-index", "--add", "--cacheinfo", link], check=True)
    return tmp_path
