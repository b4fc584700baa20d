# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", Path(__file__).with_name("demo.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_earlier_runs_are_kept(demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert demo.train_arguments([])[-4:] == ["--result-dir", "results", "--experiment-name", "demo"]
    (tmp_path / "results" / "demo").mkdir(parents=True)
    assert demo.train_arguments(["--seed", "1"])[-3:] == ["demo-2", "--seed", "1"]
    (tmp_path / "results" / "demo-2").mkdir()
    assert demo.free_name(tmp_path / "results") == "demo-3"


def test_what_the_caller_gives_is_left_alone(demo: ModuleType) -> None:
    assert demo.train_arguments(["--experiment-name", "x"]) == [
        "--config",
        str(demo.CONFIG_PATH),
        "--experiment-name",
        "x",
    ]
    given = ["--config=mine.yaml", "--result-dir=out"]
    assert demo.train_arguments(given) == given
