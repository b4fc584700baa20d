# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command's flags and its bad input; what it makes is tested with the engine that writes shards."""

from pathlib import Path

import pytest

from bionemo.core._config_parser import build_parser
from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.consolidate_config import ConsolidateConfig
from bionemo.llm.checkpoints.layouts import find_layout
from bionemo.llm.scripts.consolidate_checkpoint import main


FLAGS = "--checkpoint --overwrite --no-overwrite --config --debug --version --help -h"


def test_flags_are_the_golden_list() -> None:
    parser = build_parser(ConsolidateConfig)
    assert {flag for action in parser._actions for flag in action.option_strings} == set(FLAGS.split())


def consolidate(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = main([str(argument) for argument in arguments])
    return status, capsys.readouterr().err


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, error = consolidate(capsys, tmp_path, tmp_path / "out")
    assert status == 2
    assert "no such checkpoint" in error


def test_a_checkpoint_that_is_in_one_folder_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "checkpoints/last").mkdir(parents=True)
    status, error = consolidate(capsys, tmp_path, tmp_path / "out")
    assert status == 2
    assert "has no shards/" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["os:system", "bionemo.core.files:atomic_directory", "bionemo.nothing:SomeLayout"])
def test_only_layouts_of_our_packages_are_imported(name: str) -> None:
    with pytest.raises(CheckpointError, match=name.partition(":")[0]):
        find_layout(name)
