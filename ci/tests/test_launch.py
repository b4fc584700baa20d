# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""The door in a small copy of the repository: usage, the search for Python, and what decides on a set-up."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
TOOLS = ("bash", "cat", "cut", "dirname", "grep", "mv", "readlink", "sha256sum")


@pytest.fixture
def door(tmp_path: Path, root: Path) -> Path:
    """A copy of launch.sh with as little around it as it needs; the real environments stay untouched."""
    folder = tmp_path / "a checkout"
    (folder / "docs").mkdir(parents=True)
    (folder / "sub-packages" / "bionemo-core").mkdir(parents=True)
    (folder / "sub-packages" / "bionemo-core" / "pyproject.toml").write_text('[project]\nname = "bionemo-core"\n')
    for name in ("launch.sh", "VERSION", "constraints.txt"):
        shutil.copy(root / name, folder / name)
    for name in ("requirements-dev.txt", "requirements-test.txt", "docs/requirements.txt"):
        (folder / name).touch()
    return folder / "launch.sh"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with the shell's tools, but neither Python nor docker."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def launch(door: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "BIONEMO_IMAGE")}
    done = subprocess.run(
        [str(door), *arguments], env=inherited | environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "" or arguments[0] in ("help", "--help", "-h")
    return done


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("spelling", ["help", "--help", "-h"])
def test_help_lists_the_commands(door: Path, spelling: str) -> None:
    done = launch(door, spelling)
    assert done.returncode == 0
    assert [name for name in ("demo", "test", "dev", "build", "run") if f"\n  {name} " not in done.stdout] == []


def test_no_command_shows_the_usage_and_fails(door: Path) -> None:
    done = launch(door)
    assert done.returncode == 2
    assert last_line(done) == "launch.sh: error: no command given; use demo, test, dev, build or run."
    assert "usage: ./launch.sh COMMAND" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tests"], "launch.sh: error: unknown command 'tests'; use demo, test, dev, build, run or help."),
        (["dev", "all"], "launch.sh: error: dev takes no argument but 'plain', found: all"),
        (
            ["test", "-k", "fast"],
            "launch.sh: error: test takes no arguments; for some tests: .venv/bin/python -m pytest PATH",
        ),
    ],
)
def test_wrong_arguments_get_one_line(door: Path, arguments: list[str], message: str) -> None:
    done = launch(door, *arguments)
    assert (done.returncode, done.stderr) == (2, message + "\n")


@pytest.mark.parametrize("command", ["build", "run"])
def test_container_commands_say_that_docker_is_missing(door: Path, tools: Path, command: str) -> None:
    done = launch(door, command, PATH=str(tools))
    message = (
        "launch.sh: error: docker is not installed; install it, or use ./launch.sh dev for a plain environment.\n"
    )
    assert (done.returncode, done.stderr) == (1, message)


def test_an_image_that_was_not_built_is_never_fetched(door: Path, tools: Path) -> None:
    log = tools / "docker.log"
    (tools / "docker").write_text(f'#!/bin/bash\necho "$@" >>{log}\n[[ $1 != image ]]\n')
    (tools / "docker").chmod(0o755)
    done = launch(door, "run", PATH=str(tools))
    version = (door.parent / "VERSION").read_text().strip()
    message = f"launch.sh: error: there is no image bionemo:{version} on this machine; run ./launch.sh build first.\n"
    assert (done.returncode, done.stderr) == (1, message)
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["info", "image"]


def test_a_built_image_is_started_and_not_looked_for_elsewhere(door: Path, tools: Path, tmp_path: Path) -> None:
    for name in ("mkdir", "id"):
        (tools / name).symlink_to(shutil.which(name) or name)
    log = tools / "docker.log"
    (tools / "docker").write_text(f'#!/bin/bash\necho "$@" >>{log}\n')
    (tools / "docker").chmod(0o755)
    assert launch(door, "run", "true", PATH=str(tools), BIONEMO_CACHE_DIR=str(tmp_path / "cache")).returncode == 0
    started = log.read_text().splitlines()[-1]
    assert started.startswith("run --rm --pull=never ")
    assert started.endswith(" true")


def test_no_python_at_all(door: Path, tools: Path) -> None:
    done = launch(door, "dev", "plain", PATH=str(tools))
    assert done.returncode == 2
    assert last_line(done).startswith(
        "launch.sh: error: found no Python 3.11 to 3.13 with the venv and ensurepip modules"
    )
    assert len(done.stderr.splitlines()) == 1
    assert not (door.parent / ".venv").exists()


def test_an_unsuitable_python_asked_for_is_named(door: Path) -> None:
    done = launch(door, "dev", "plain", PYTHON="/bin/false")
    assert done.returncode == 2
    assert done.stderr.startswith("launch.sh: error: PYTHON=/bin/false is not a Python 3.11 to 3.13")
    assert len(done.stderr.splitlines()) == 1


def test_names_on_the_path_that_do_not_run_are_passed_over(door: Path, tools: Path) -> None:
    # A version manager's shim: first on PATH, under the best name, and failing.
    (tools / "python3.11").write_text("#!/bin/bash\necho 'version not installed' >&2\nexit 127\n")
    (tools / "python3.11").chmod(0o755)
    (tools / "python3").symlink_to(sys.executable)
    done = launch(door, "dev", "plain", PATH=str(tools), **NO_INDEX)
    assert done.stderr.startswith(f"launch.sh: making .venv with {tools / 'python3'}\n")


def test_a_failed_set_up_leaves_no_stamp_and_is_tried_again(door: Path) -> None:
    for _ in range(2):
        done = launch(door, "dev", "plain", PYTHON=sys.executable, **NO_INDEX)
        assert done.returncode == 1
        assert last_line(done) == "launch.sh: error: pip could not install torch; its message is above."
        assert "torch==2.13.0" in done.stderr
        assert not (door.parent / ".venv" / ".stamp").exists()
    assert "making .venv" not in done.stderr  # the second attempt goes on from the environment of the first


def test_a_complete_set_up_is_reused_until_a_pin_changes(door: Path) -> None:
    folder = door.parent
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    parts = (
        "constraints.txt",
        "sub-packages/bionemo-core/pyproject.toml",
        "requirements-dev.txt",
        "requirements-test.txt",
    )
    digest = hashlib.sha256(b"".join((folder / part).read_bytes() for part in parts)).hexdigest()
    (folder / ".venv" / ".stamp").write_text(digest + "\n")

    done = launch(door, "dev", "plain", **NO_INDEX)
    assert (done.returncode, done.stderr) == (0, "launch.sh: ready: .venv/bin/python\n")

    (folder / ".venv" / "bin" / "python").unlink()  # an environment without its interpreter is not complete
    done = launch(door, "dev", "plain", PYTHON=sys.executable, **NO_INDEX)
    assert "making .venv" in done.stderr

    (folder / ".venv" / ".stamp").write_text(digest + "\n")
    with (folder / "constraints.txt").open("a") as constraints:
        constraints.write("another==1.0\n")
    done = launch(door, "dev", "plain", **NO_INDEX)
    assert "installing into .venv" in done.stderr
