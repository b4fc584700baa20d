# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""What the README and the user guide tell a reader to type exists: files, flags, keys and names."""

import ast
import contextlib
import importlib
import io
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from bionemo.core.config import parse
from bionemo.esm2.api import build_esm2, save_esm2
from bionemo.esm2.model.model import ESM2Config
from bionemo.esm2.train_config import TrainESM2Config, check_flags


ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(
        f"docs/docs/user-guide/{n}.md"
        for n in ("index", "quick-start", "models", "migration", "gpu-speed", "multi-gpu")
    ),
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


def printed_installs() -> dict[str, list[str]]:
    """Every `pip install` line of a page, notebook script or README, by where it stands."""
    listing = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "*.md", "docs/docs/*.py", "sub-packages/*/examples/*.py"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = {}
    for name in listing.splitlines():
        text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        found[name] = [line.split("  #")[0] for line in re.findall(r"pip install ([^`\n]*)", text)]
    return {name: lines for name, lines in found.items() if lines}


def test_packages_are_installed_from_the_checkout_or_a_release_and_never_by_bare_name() -> None:
    """The public index has other people's packages of these names."""
    lines = [(name, line) for name, found in printed_installs().items() for line in found]
    assert len(lines) >= 9
    assert [(name, line) for name, line in lines if re.search(r"""(^|[\s"'])bionemo-""", line)] == []


def test_an_install_line_names_every_package_of_ours_that_is_needed() -> None:
    declared = {
        path.parent.name: re.findall(
            r"bionemo-\w+", " ".join(tomllib.loads(path.read_text())["project"]["dependencies"])
        )
        for path in ROOT.glob("sub-packages/*/pyproject.toml")
    }
    extras = re.compile(r"(cudnn|fa4|nemo)\]")  # added to an environment that has the rest
    incomplete = []
    for name, lines in printed_installs().items():
        for line in lines:
            named = set(re.findall(r"sub-packages/(bionemo-\w+)", line))
            needed = {needed for package in named for needed in declared[package]}
            if not extras.search(line) and needed - named:
                incomplete.append((name, line, sorted(needed - named)))
    assert incomplete == []


def test_the_quick_starts_python_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    model = build_esm2(ESM2Config(num_layers=1, hidden_size=16, num_attention_heads=2, ffn_hidden_size=32), seed=0)
    save_esm2(model, tmp_path / "results" / "mine" / "checkpoints" / "last")
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec("".join(blocks("docs/docs/user-guide/quick-start.md", "python")[1:]), {})  # the first: test_models_page
    assert printed.getvalue() == "torch.Size([2, 12, 33])\n"
    assert "# [2, 12, 33]" in (ROOT / "docs/docs/user-guide/quick-start.md").read_text()


def test_imports_in_python_blocks_work() -> None:
    checked = 0
    for block in (block for page in PAGES for block in blocks(page, "python")):
        for node in ast.parse(block).body:
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
                checked += 1
    assert checked >= 2
