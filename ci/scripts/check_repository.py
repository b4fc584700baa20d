#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Check what no linter knows: licence headers, file sizes, package layout, versions, pins and what tests import."""

import argparse
import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


MAX_FILE_BYTES = 200_000
HEADER_SUFFIXES = {".py", ".sh", ".toml", ".yaml", ".yml", ".css", ".sbatch"}
HEADER_NAMES = {"Dockerfile", "launch.sh", "run", "CODEOWNERS", ".gitmodules"}
HEADER_WITHIN_LINES = 6
# Every test may use these, whatever its package declares.
TEST_HELPERS = {"testing"}


def git_output(root: Path, *arguments: str) -> str:
    """Return what a git command prints in this repository."""
    done = subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def repository_files(root: Path) -> list[Path]:
    """List the files under version control and those that would be added, without links and deleted ones."""
    listing = git_output(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    paths = (root / name for name in sorted(set(listing.split("\0"))) if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def package_metadata(root: Path) -> dict[str, dict[str, Any]]:
    """Read every package's pyproject.toml, by folder name."""
    return {
        path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))
        for path in sorted((root / "sub-packages").glob("*/pyproject.toml"))
    }


def needs_header(path: Path, root: Path) -> bool:
    """Source, configuration and requirements carry the licence header; texts, data and the licence itself do not."""
    if path.relative_to(root).parts[0] in ("LICENSE", "3rdparty") or path.stat().st_size == 0:
        return False
    is_requirements = path.suffix == ".txt" and re.search("requirements|constraints", path.name) is not None
    return path.suffix in HEADER_SUFFIXES or path.name in HEADER_NAMES or is_requirements


def check_headers(root: Path, files: list[Path]) -> Iterator[str]:
    """Every source file names its copyright and licence in its first lines."""
    wanted = (root / "license_header").read_text(encoding="utf-8").split("\n")
    wanted = [line for line in wanted if line]
    for path in files:
        if not needs_header(path, root):
            continue
        top = path.read_text(encoding="utf-8").splitlines()[:HEADER_WITHIN_LINES]
        if not all(any(line in found for found in top) for line in wanted):
            yield f"{path.relative_to(root)}: its first lines lack the licence header; copy license_header"


def check_sizes(root: Path, files: list[Path]) -> Iterator[str]:
    """No large file enters the history: data, weights and outputs live elsewhere."""
    for path in files:
        if (size_bytes := path.stat().st_size) > MAX_FILE_BYTES:
            yield f"{path.relative_to(root)}: {size_bytes} bytes, more than {MAX_FILE_BYTES}; keep it outside"


def check_layout(root: Path) -> Iterator[str]:
    """`bionemo` is a namespace: an `__init__.py` in it would hide every other installed package of ours."""
    for folder in ("src", "tests"):
        for path in sorted(root.glob(f"sub-packages/*/{folder}/bionemo/__init__.py")):
            yield f"{path.relative_to(root)}: shadows the bionemo namespace; remove it"


def check_versions(root: Path) -> Iterator[str]:
    """All packages have VERSION's number and require each other at exactly that number."""
    version = (root / "VERSION").read_text(encoding="utf-8").strip()
    for name, metadata in package_metadata(root).items():
        project = metadata["project"]
        if project["version"] != version:
            yield f"sub-packages/{name}/pyproject.toml: version {project['version']}, VERSION says {version}"
        requirements = list(project.get("dependencies", []))
        for extra in project.get("optional-dependencies", {}).values():
            requirements += extra
        requirements += metadata.get("dependency-groups", {}).get("test", [])
        for requirement in requirements:
            if requirement.startswith("bionemo-") and not requirement.endswith(f"=={version}"):
                yield f"sub-packages/{name}/pyproject.toml: {requirement!r}, siblings are required at =={version}"


def pinned(text: str, name: str) -> str | None:
    """Return the version that a requirements or constraints text pins a package to."""
    match = re.search(rf"(?im)^[\s\"]*{re.escape(name)}(?:\[[^\]]*\])?==([\w.]+)", text)
    return match.group(1) if match else None


def check_nemo_pins(root: Path) -> Iterator[str]:
    """The constraints, the meta package and the submodules name the same NeMo and Megatron-core."""
    constraints = (root / "constraints-nemo.txt").read_text(encoding="utf-8")
    meta = (root / "sub-packages/bionemo-fw/pyproject.toml").read_text(encoding="utf-8")
    releases = submodule_releases(root)
    for name, path, tag in (
        ("nemo-toolkit", "3rdparty/NeMo", "v{}"),
        ("megatron-core", "3rdparty/Megatron-LM", "core_v{}"),
    ):
        version = pinned(constraints, name)
        if version is None:
            yield f"constraints-nemo.txt: no pin {name}==..."
            continue
        if pinned(meta, name) != version:
            yield f"sub-packages/bionemo-fw/pyproject.toml: {name} is not =={version} as in constraints-nemo.txt"
        if releases.get(path, "").partition(" ")[0] != tag.format(version):
            yield f".gitmodules: {path} is not at release {tag.format(version)} as in constraints-nemo.txt"
    links = git_links(root)
    for path in sorted(links.keys() | releases.keys()):
        link, commit = links.get(path, ""), releases.get(path, "").partition(" ")[2]
        if link != commit:
            yield (
                f"{path}: the git link is {link or 'missing'}, .gitmodules has {commit or 'no commit'}; "
                "run 3rdparty/pin_submodules.sh"
            )


def submodule_releases(root: Path) -> dict[str, str]:
    """Read .gitmodules: "TAG COMMIT", or "TAG" alone where the commit is not recorded, by path."""
    listing = git_output(root, "config", "--file", ".gitmodules", "--get-regexp", r"\.release$")
    entries = (line.partition(".release ") for line in listing.splitlines())
    return {name.removeprefix("submodule."): release for name, _, release in entries}


def git_links(root: Path) -> dict[str, str]:
    """Commits of the git links under version control, by path."""
    entries = (line.partition("\t") for line in git_output(root, "ls-files", "--stage", "-z").split("\0"))
    return {path: entry.split()[1] for entry, _, path in entries if entry.startswith("160000")}


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, x) for every import of `bionemo.x` in one file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.ImportFrom) and node.module == "bionemo":
            names = [f"bionemo.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("bionemo."):
                yield node.lineno, name.split(".")[1]


def reachable(name: str, metadata: dict[str, dict[str, Any]]) -> set[str]:
    """Return the rooms (`core`, `llm`, ...) that a package and what it declares stand on, itself included."""
    rooms, waiting = set(), [name]
    while waiting:
        package = waiting.pop()
        room = package.removeprefix("bionemo-")
        if room in rooms:
            continue
        rooms.add(room)
        declared = metadata[package]["project"].get("dependencies", []) if package in metadata else []
        waiting += [m.group() for line in declared if (m := re.match(r"bionemo-\w+", line))]
    return rooms


def check_test_imports(root: Path) -> Iterator[str]:
    """A package's tests use the package, what it declares and bionemo.testing, so they keep the layers too."""
    metadata = package_metadata(root)
    for name in metadata:
        allowed = reachable(name, metadata) | TEST_HELPERS
        for path in sorted((root / "sub-packages" / name / "tests").rglob("*.py")):
            for line, room in imported_rooms(path):
                if room not in allowed:
                    yield f"{path.relative_to(root)}:{line}: imports bionemo.{room}, which {name} does not depend on"


def find_problems(root: Path) -> list[str]:
    """Run every check; one line per problem."""
    files = repository_files(root)
    return [
        *check_headers(root, files),
        *check_sizes(root, files),
        *check_layout(root),
        *check_versions(root),
        *check_nemo_pins(root),
        *check_test_imports(root),
    ]


def main(argv: list[str] | None = None) -> int:
    """Print the problems; exit 1 when there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    problems = find_problems(parser.parse_args(argv).root)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
