# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""What the README and the user guide tell a reader to type exists: files, flags, keys and names."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from bionemo.core.config import parse
from bionemo.esm2.train_config import TrainESM2Config, check_flags


ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/docs/user-guide/{n}.md" for n in ("index", "quick-start", "migration", "gpu-speed", "multi-gpu")),
]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


def shell_lines() -> list[str]:
    text = "".join(block for page in PAGES for block in blocks(page, "bash")).replace("\\\n", " ")
    return [line.split(" #")[0].strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("page", [*PAGES, "docs/README.md", "3rdparty/README.md", "docs/docs/index.md"])
def test_relative_links_lead_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / page).read_text())
    missing = [link for link in links if not (folder / link).exists()]
    assert missing == []


def test_every_flag_of_train_esm2_exists_and_fits_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (settings,) = [block for page in PAGES for block in blocks(page, "yaml")]
    assert yaml.safe_load(settings)["num_steps"] == 2000
    (tmp_path / "mine.yaml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    lines = [line for line in shell_lines() if "--help" not in line]
    matches = [re.match(r"(?:torchrun .* |sbatch )?\S*train_esm2(?:\.sbatch)? (.*)", line) for line in lines]
    commands = [match[1] for match in matches if match]
    assert len(commands) >= 13
    for command in commands:
        config = parse(TrainESM2Config, shlex.split(command), prog="train_esm2")
        check_flags(config)
        assert [path.name.split(".")[0] for path in config.train_fasta] == ["proteins"]


def test_every_argument_of_the_door_is_one_it_knows() -> None:
    door = (ROOT / "launch.sh").read_text()
    named = {m for page in PAGES for m in re.findall(r"\./launch\.sh ([a-z]+)", (ROOT / page).read_text())}
    assert named >= {"demo", "test", "dev"}
    for name in named:
        assert re.search(rf"^        {name}\b.*\)", door, flags=re.MULTILINE), name


def test_every_path_of_the_repository_in_a_command_exists() -> None:
    words = {word for line in shell_lines() for word in shlex.split(line)}
    ours = [word for word in words if re.match(r"(sub-packages|docs|ci|scripts|constraints)[/\w.-]*", word)]
    assert len(ours) >= 5
    assert [word for word in ours if not (ROOT / word.partition("[")[0]).exists()] == []


def test_imports_in_python_blocks_work() -> None:
    checked = 0
    for block in (block for page in PAGES for block in blocks(page, "python")):
        for node in ast.parse(block).body:
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
                checked += 1
    assert checked >= 2
