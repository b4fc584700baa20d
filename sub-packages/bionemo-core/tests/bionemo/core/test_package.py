# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What importing the package costs and does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest


HEAVY = {"numpy", "torch", "yaml", "pooch", "pydantic", "requests", "tqdm"}
LIGHT_MODULES = ["bionemo.core", "bionemo.core.errors", "bionemo.core.files", "bionemo.core.config"]
NO_TORCH_MODULES = [
    "bionemo.core.data.permute",
    "bionemo.core.data.bin_packing",
    "bionemo.core.randomness",
    "bionemo.core.utils.random_utils",
    "bionemo.core.utils.subprocess_utils",
]


def loaded_by(modules: list[str], **environment: str) -> tuple[set[str], str]:
    script = (
        f"import sys, json, {', '.join(modules)}\n"
        "print(json.dumps([sorted(sys.modules), str(bionemo.core.BIONEMO_CACHE_DIR)]))"
    )
    env = {**{name: value for name, value in os.environ.items() if name != "BIONEMO_CACHE_DIR"}, **environment}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
    modules_loaded, cache_dir = json.loads(done.stdout)
    return set(modules_loaded), cache_dir


def test_light_modules_load_nothing_but_platformdirs():
    assert HEAVY & loaded_by(LIGHT_MODULES)[0] == set()


def test_modules_without_torch():
    loaded = loaded_by(["bionemo.core", *NO_TORCH_MODULES])[0]
    assert "numpy" in loaded
    assert {"torch", "pooch", "pydantic"} & loaded == set()


@pytest.mark.parametrize("value", ["", None])
def test_default_cache_dir_is_that_of_the_platform_and_not_made(tmp_path, value):
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    if value is not None:
        environment["BIONEMO_CACHE_DIR"] = value
    cache_dir = loaded_by(["bionemo.core"], **environment)[1]
    assert Path(cache_dir).name == Path(platformdirs.user_cache_dir("bionemo", "nvidia")).name
    assert list(tmp_path.iterdir()) == []


def test_cache_dir_from_the_environment(tmp_path):
    assert loaded_by(["bionemo.core"], BIONEMO_CACHE_DIR=str(tmp_path / "x"))[1] == str(tmp_path / "x")
    assert not (tmp_path / "x").exists()
