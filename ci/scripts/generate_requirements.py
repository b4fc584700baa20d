#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Write each package's requirements files from its pyproject.toml, or check that they agree.

`requirements.txt` is for working on one package in a checkout: run inside the package's folder,
`pip install -r requirements.txt -e .` installs the sibling packages editable and everything else from the index.
Packages built on other packages of ours keep the third-party part apart in `_requirements.txt`; those with a `test`
dependency group have `_requirements-test.txt`.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]
ONE_FILE_PACKAGES = ("bionemo-core", "bionemo-scdl", "bionemo-webdatamodule")
HEADER = (
    "".join(f"# {line}\n" for line in (ROOT / "license_header").read_text().splitlines())
    + "# Generated from pyproject.toml by ci/scripts/generate_requirements.py: change that file and run the script.\n"
)


def editable(requirement: str) -> str:
    """Turn `bionemo-llm[nemo]==3.0.0` into `-e ../bionemo-llm[nemo]`."""
    match = re.match(r"bionemo-\w+(\[[\w,-]+\])?", requirement)
    assert match is not None, requirement
    return f"-e ../{match.group()}"


def split_siblings(requirements: list[str]) -> tuple[list[str], list[str]]:
    """Separate our own packages, as editable installs, from everybody else's."""
    siblings = [editable(requirement) for requirement in requirements if requirement.startswith("bionemo-")]
    return siblings, [requirement for requirement in requirements if not requirement.startswith("bionemo-")]


def render(pyproject_path: Path) -> dict[str, str]:
    """Return the text of every requirements file of one package, by file name."""
    metadata = tomllib.loads(pyproject_path.read_text(encoding="utf-8"))
    siblings, others = split_siblings(metadata["project"].get("dependencies", []))
    files = {}
    if metadata["project"]["name"] in ONE_FILE_PACKAGES:
        files["requirements.txt"] = [*siblings, *others]
    else:
        files["requirements.txt"] = [*siblings, "-r _requirements.txt"]
        files["_requirements.txt"] = others
    if test_group := metadata.get("dependency-groups", {}).get("test"):
        test_siblings, test_others = split_siblings(test_group)
        files["_requirements-test.txt"] = [*test_siblings, *test_others]
    return {name: HEADER + "".join(f"{line}\n" for line in lines) for name, lines in files.items()}


def disagreements(package_dir: Path) -> list[str]:
    """List the requirements files of one package that are missing, out of date or left over."""
    wanted = render(package_dir / "pyproject.toml")
    problems = []
    for name, text in wanted.items():
        path = package_dir / name
        if not path.is_file():
            problems.append(f"{path}: missing")
        elif path.read_text(encoding="utf-8") != text:
            problems.append(f"{path}: does not agree with pyproject.toml")
    left_over = {path.name for path in package_dir.glob("*requirements*.txt")} - wanted.keys()
    return problems + [f"{package_dir / name}: generated from nothing in pyproject.toml" for name in sorted(left_over)]


def main(argv: list[str] | None = None) -> int:
    """Write or check the files of every package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file does not agree")
    parser.add_argument("--packages", type=Path, default=ROOT / "sub-packages", help="folder of the packages")
    args = parser.parse_args(argv)
    problems = []
    for pyproject_path in sorted(args.packages.glob("*/pyproject.toml")):
        if args.check:
            problems += disagreements(pyproject_path.parent)
        else:
            for name, text in render(pyproject_path).items():
                (pyproject_path.parent / name).write_text(text, encoding="utf-8")
    for problem in problems:
        print(f"{problem}. Run ci/scripts/generate_requirements.py.", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
