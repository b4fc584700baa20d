# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from bionemo.core.errors import BionemoError


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", Path(__file__).with_name("demo.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished run: the last row of the metrics has a training loss only."""
    state_path = tmp_path / "run" / "checkpoints" / "last" / "training_state" / "state.json"
    state_path.parent.mkdir(parents=True)
    state_path.write_text(json.dumps({"agreement": {"unigram_loss": 2.9}}))
    (tmp_path / "run" / "metrics.csv").write_text("step,val_loss_masked\n10,2.75\n20,2.5\n30,\n")
    return tmp_path / "run"


def test_the_outcome_compares_the_last_validation_with_the_line(demo: ModuleType, run_dir: Path) -> None:
    lines = demo.outcome(run_dir, 83.4).splitlines()
    assert lines[0] == "trained for 1 min 23 s"
    assert lines[1].endswith("2.50 nats (0.40 below the 2.90 of residue frequencies alone)")
    assert lines[2].endswith(str(run_dir / "loss.png"))
    assert lines[3].endswith(str(run_dir / "checkpoints" / "last"))


def test_a_run_that_learned_nothing_is_not_praised(demo: ModuleType, run_dir: Path) -> None:
    (run_dir / "metrics.csv").write_text("step,val_loss_masked\n10,3.0\n")
    assert "3.00 nats (0.10 above the 2.90 of residue frequencies alone; train longer)" in demo.outcome(run_dir, 1)


def test_a_run_without_metrics_is_an_error_that_names_the_file(demo: ModuleType, run_dir: Path) -> None:
    (run_dir / "metrics.csv").unlink()
    with pytest.raises(BionemoError, match=r"metrics\.csv: no such file"):
        demo.outcome(run_dir, 1)


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
