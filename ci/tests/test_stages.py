# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The stages of the checks: all run and are counted, or those that are named."""

import subprocess
from pathlib import Path

import pytest
import yaml


STAGES = """
source "$1"
shift
choose "$@"
stage good echo seen-good
stage bad false
stage last echo seen-last
finish
"""


def run_stages(root: Path, *names: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", STAGES, "stages", str(root / "ci" / "scripts" / "stages.sh"), *names]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_failing_stage_fails_the_whole_but_not_the_next(root: Path) -> None:
    done = run_stages(root)
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines()[-3:]] == ["ok", "FAILED", "ok"]
    assert "seen-last" in done.stdout
    assert "1 of 3 stages failed" in done.stderr


def test_stages_run_alone(root: Path) -> None:
    done = run_stages(root, "good", "last")
    assert done.returncode == 0
    assert "seen-good" in done.stdout
    assert "bad" not in done.stdout


def test_an_unknown_name_is_an_error_that_lists_the_stages(root: Path) -> None:
    done = run_stages(root, "godo")
    assert done.returncode == 2
    assert done.stderr == "no stage is called godo; there are: good bad last\n"


@pytest.mark.parametrize("script", ["pr_test.sh", "nightly_test.sh"])
def test_stage_names_are_single_words_and_unique(root: Path, script: str) -> None:
    lines = (root / "ci" / "scripts" / script).read_text().splitlines()
    names = [line.split()[1] for line in lines if line.startswith("stage ")]
    assert len(names) == len(set(names)) >= 4
    assert [name for name in names if not name.replace("-", "").isalnum()] == []


def test_what_runs_before_a_commit_is_what_every_change_has_to_pass(root: Path) -> None:
    (repository,) = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repository["hooks"]
    assert repository["repo"] == "local"  # nothing is fetched
    assert hook["entry"] in (root / "ci" / "scripts" / "pr_test.sh").read_text()
    assert (hook["language"], hook["pass_filenames"]) == ("system", False)
