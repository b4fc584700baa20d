#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Prove that a package of ours installs alone and works with nothing but what it declares.

Wheels of all our packages are built into an empty folder. Then, for each package asked for, a new environment gets
that wheel and its declared dependencies, every module in it is imported and every command of it answers `--help`. A
module may refuse to be imported only by naming an extra of ours: "pip install 'bionemo-testing[lightning]'".

By default the third-party part is not downloaded: exactly the distributions in the closure of the declared
requirements are linked, file by file, from the environment that runs this script, and pip then has to find every
requirement met. A forgotten requirement is therefore an import error, as it would be for a user. With `--download`
pip fetches everything.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


ROOT = Path(__file__).resolve().parents[2]
# Run inside the new environment: imports all that is there of ours, then lists our commands.
IMPORT_ALL = r"""
import importlib, importlib.util, pkgutil, sys, warnings
from importlib.metadata import distributions
import bionemo
has_nemo = importlib.util.find_spec("nemo") is not None
names = [m.name for m in pkgutil.walk_packages(bionemo.__path__, "bionemo.", onerror=lambda name: None)]
names = [n for n in names if has_nemo or not n.startswith("bionemo.llm.megatron.")]
failed, optional = 0, 0
for name in names:
    try:
        importlib.import_module(name)
    except BaseException as error:
        if type(error).__name__ == "MissingDependencyError" and "pip install 'bionemo-" in str(error):
            optional += 1
            continue
        failed += 1
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
extras = f", {optional} need an extra" if optional else ""
print(f"{len(names) - failed - optional} of {len(names)} modules import{extras}")
for d in distributions():
    if d.name.startswith("bionemo"):
        for e in d.entry_points:
            if e.group == "console_scripts":
                print("command", e.name)
sys.exit(1 if failed or not names else 0)
"""


class CheckFailed(Exception):
    """A package does not install alone; the message says what was run and what came out."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command and return its output, or raise CheckFailed with it."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd, env=environment)
    if done.returncode:
        shown = " ".join(map(str, command)).partition("\n")[0]
        raise CheckFailed(f"{shown} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def build_wheels(folder: Path) -> None:
    """Build all our packages from a copy, so that neither old build folders nor the checkout matter."""
    sources = folder / "sources"
    for package in sorted((ROOT / "sub-packages").glob("bionemo-*")):
        ignore = shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", "tests", "results")
        shutil.copytree(package, sources / package.name, ignore=ignore)
    pip_wheel = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder)
    run(*pip_wheel, *sorted(sources.iterdir()))


def requirements_of(wheel: Path) -> list[Requirement]:
    """Read what a wheel declares."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode("utf-8"))
    return [Requirement(line) for line in metadata.get_all("Requires-Dist") or []]


def needed(requirements: list[Requirement], extras: set[str]) -> Iterator[Requirement]:
    """Keep the requirements whose marker holds here for one of the extras, or without any."""
    for requirement in requirements:
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras | {""}):
            yield requirement


def closure(package: str, wheels: dict[str, Path]) -> list[Distribution]:
    """Return the third-party distributions that the declared requirements of a package lead to."""
    installed = {canonicalize_name(d.name): d for d in distributions() if d.name}
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(package)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        if name in wheels:
            waiting += needed(requirements_of(wheels[name]), requirement.extras)
        elif name in installed:
            found[name] = installed[name]
            lines = installed[name].requires or []
            waiting += needed([Requirement(line) for line in lines], requirement.extras)
        else:
            raise CheckFailed(f"{package} needs {requirement}, which {sys.prefix} does not have.")
    return list(found.values())


def link_distribution(distribution: Distribution, site_packages: Path) -> None:
    """Give a new environment the library files of one installed distribution."""
    for file in distribution.files or []:
        source = Path(str(distribution.locate_file(file)))
        if ".." in file.parts or "__pycache__" in file.parts or not source.is_file():
            continue
        target = site_packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(source)


def check(package: str, wheels: dict[str, Path], folder: Path, *, download: bool, constraints: Path) -> str:
    """Install one package into a new environment and use it there; returns one line about what was seen."""
    environment = folder / f"env-{canonicalize_name(Requirement(package).name)}"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    install = (*pip, "install", "--quiet", "--find-links", folder)
    if download:
        run(*install, "-c", constraints, package)
    else:
        site_packages = next((environment / "lib").glob("python*/site-packages"))
        for distribution in closure(package, wheels):
            link_distribution(distribution, site_packages)
        run(*install, "--no-index", package)
    run(*pip, "check")
    workplace = folder / "elsewhere"
    workplace.mkdir(exist_ok=True)
    modules, *commands = run(python, "-W", "ignore", "-c", IMPORT_ALL, cwd=workplace).strip().splitlines()
    for command in commands:
        run(environment / "bin" / command.removeprefix("command "), "--help", cwd=workplace)
    shutil.rmtree(environment)
    return f"{package}: installs alone, {modules}, {len(commands)} commands answer --help"


def main(argv: list[str] | None = None) -> int:
    """Check the packages named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="for example bionemo-esm2 or bionemo-llm[nemo]")
    parser.add_argument("--download", action="store_true", help="let pip fetch third-party packages, as a user would")
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt", help="used with --download")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bionemo-installable-") as name:
        folder = Path(name)
        build_wheels(folder)
        wheels = {canonicalize_name(path.name.split("-")[0]): path for path in folder.glob("*.whl")}
        unknown = [name for name in args.packages if canonicalize_name(Requirement(name).name) not in wheels]
        if unknown:
            parser.error(f"{unknown[0]} is not one of {', '.join(sorted(wheels))}")
        failed = 0
        for package in args.packages:
            try:
                print(check(package, wheels, folder, download=args.download, constraints=args.constraints), flush=True)
            except CheckFailed as error:
                failed += 1
                print(f"check_installable.py: error: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
