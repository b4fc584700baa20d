# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Do the dependencies declared between our packages agree with what their source imports?

``python -m bionemo.fw.dependency_graph [--base-dir CHECKOUT] [--out DIR]`` prints one line per difference, and exits
with 1 if there are any. Names are compared as pip does (``-`` and ``_`` are one) and printed as they are written.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bionemo.core.command import run_command
from bionemo.core.config import option, parse
from bionemo.core.errors import ConfigError, FormatError
from bionemo.core.files import atomic_file
from bionemo.core.optional_deps import require


__all__ = (
    "build_dependency_graph",
    "find_bionemo_subpackages",
    "find_differences",
    "parse_dependencies",
    "resolve_dependencies",
    "visualize_dependency_graph",
)

UNPINNED = "unpinned"
META_PACKAGE = "bionemo-fw"  # depends on all others to bring them, not to import them

_IMPORT_AT_LINE_START = re.compile(r"^\s*(?:import|from)\s+bionemo\.(\w+)", re.MULTILINE)


def parse_dependencies(pyproject_path: str | Path, *, extras: bool = False) -> tuple[str | None, dict[str, str]]:
    """Read a package's name and its dependencies on ``bionemo-*`` packages.

    Args:
        pyproject_path: The package's ``pyproject.toml``; what is missing in it is told on stdout.
        extras: Whether the optional dependencies count too.

    Returns:
        The name as written, or None; and for each dependency, by normalized name, its version specifier, or
        "unpinned". Where the dependencies are a table instead of a list, its values.

    Raises:
        FormatError: The file is no TOML, or a dependency is no requirement.
    """
    path = Path(pyproject_path)
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
        name, declared = project.get("name"), project.get("dependencies")
        if name is None:
            sys.stdout.write(f"Warning: Could not find package name in {path}\n")
        if declared is None:
            sys.stdout.write(f"Warning: Could not find dependencies in {path}\n")
        groups = [declared or [], *(project.get("optional-dependencies", {}).values() if extras else ())]
        versions: dict[str, str] = {}
        for group in groups:
            for dependency, version in group.items() if isinstance(group, Mapping) else map(_name_and_version, group):
                versions.setdefault(canonicalize_name(dependency), version)
    except (tomllib.TOMLDecodeError, InvalidRequirement) as error:
        raise FormatError(f"{path}: {error}") from error
    return name, {dependency: version for dependency, version in versions.items() if dependency.startswith("bionemo-")}


def build_dependency_graph(
    base_dir: str | Path, directories: Iterable[str], *, extras: bool = False
) -> dict[str, dict[str, str]]:
    """Read the dependencies of several packages; those without a name are left out.

    Args:
        base_dir: Folder of the packages.
        directories: The packages' folders in it.
        extras: Whether optional dependencies count too.
    """
    parsed = (parse_dependencies(Path(base_dir, each, "pyproject.toml"), extras=extras) for each in directories)
    return {name: dependencies for name, dependencies in parsed if name is not None}


def find_bionemo_subpackages(base_dir: str | Path, directories: Iterable[str]) -> dict[str, set[str]]:
    """Find, for each package's folder, the other ``bionemo-*`` packages that its ``src`` imports.

    A file that cannot be read is told on stdout and passed over; one that is no Python is searched as text.
    """
    imports: dict[str, set[str]] = {}
    for directory in directories:
        found: set[str] = set()
        for path in sorted(Path(base_dir, directory, "src").rglob("*.py")):
            try:
                found |= _imported_packages(path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                sys.stdout.write(f"Error reading file {path}: {error}\n")
        imports[directory] = {name for name in found if canonicalize_name(name) != canonicalize_name(directory)}
    return imports


def resolve_dependencies(
    subpackage: str,
    graph: Mapping[str, Collection[str]],
    resolved: set[str] | None = None,
    seen: set[str] | None = None,
) -> set[str]:
    """Find all that a package depends on, directly or through others.

    Args:
        subpackage: The package; part of the answer only if it depends on itself through others.
        graph: Direct dependencies of each package, as a list or as a dict by name.
        resolved: What is known already; the answer is added to it.
        seen: Normalized names whose dependencies need not be followed; those that were are added to it.
    """
    resolved = set() if resolved is None else resolved
    seen = set() if seen is None else seen
    direct = {canonicalize_name(name): dependencies for name, dependencies in graph.items()}
    waiting = [subpackage]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in seen:
            seen.add(name)
            resolved.update(direct.get(name, ()))
            waiting += direct.get(name, ())
    return resolved


def find_differences(base_dir: str | Path, directories: Sequence[str]) -> Iterator[str]:
    """Yield a line for each import that no dependency covers, and for each dependency that nothing imports.

    Args:
        base_dir: Folder of the packages.
        directories: The packages' folders in it, named like the packages.
    """
    graph = build_dependency_graph(base_dir, directories, extras=True)
    written = _written_names(graph)
    for directory, imports in find_bionemo_subpackages(base_dir, directories).items():
        name = written.get(canonicalize_name(directory), directory)
        imported: set[str] = {canonicalize_name(each) for each in imports}
        covered: set[str] = {canonicalize_name(each) for each in resolve_dependencies(name, graph)}
        for other in sorted(imported - covered):
            yield f"{name}: imports {written.get(other, other)}, which its dependencies do not bring"
        declared: set[str] = set() if name == META_PACKAGE else set(graph.get(name, ()))
        for other in sorted(declared - imported):
            yield f"{name}: depends on {written.get(other, other)}, which nothing in it imports"


def visualize_dependency_graph(graph: Mapping[str, Collection[str]], filename: str | Path) -> None:
    """Draw the packages on a circle, with an arrow from each dependency to what depends on it.

    Args:
        graph: Direct dependencies of each package: a list, or a dict whose versions are written at the arrows.
        filename: The picture; its suffix says which kind.

    Raises:
        MissingDependencyError: networkx or matplotlib is not installed.
    """
    networkx = require("networkx", extra="bionemo-fw[graph]")
    figure = require("matplotlib.figure", extra="bionemo-fw[graph]").Figure(figsize=(10, 10), layout="tight")
    written = _written_names(graph)
    picture = networkx.DiGraph()
    picture.add_nodes_from(graph)
    for name, dependencies in graph.items():
        for dependency in dependencies:
            version = dependencies[dependency] if isinstance(dependencies, Mapping) else ""
            picture.add_edge(written.get(canonicalize_name(dependency), dependency), name, version=version)
    axes = figure.subplots()
    axes.axis("off")
    axes.margins(0.15)
    places = networkx.circular_layout(picture)
    networkx.draw_networkx(picture, places, ax=axes, node_size=4000, node_color="#dfe8d8", font_size=8)
    versions = {(start, end): version for start, end, version in picture.edges(data="version") if version}
    networkx.draw_networkx_edge_labels(picture, places, versions, ax=axes, font_size=7)
    with atomic_file(filename) as file:
        figure.savefig(file, format=Path(filename).suffix.removeprefix("."))


def _name_and_version(requirement: str) -> tuple[str, str]:
    parsed = Requirement(requirement)
    return parsed.name, str(parsed.specifier) or UNPINNED


def _imported_packages(source: str) -> set[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # ValueError: null bytes, before Python 3.12
        return {f"bionemo-{room}" for room in _IMPORT_AT_LINE_START.findall(source)}
    modules = [module for node in ast.walk(tree) for module in _imported_modules(node)]
    return {f"bionemo-{module.split('.')[1]}" for module in modules if module.startswith("bionemo.")}


def _imported_modules(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module="bionemo", names=names):
            return [f"bionemo.{alias.name}" for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
        case ast.Call(
            func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(module)), *_],
        ):
            return [module]
    return []


def _written_names(names: Iterable[str]) -> dict[str, str]:
    """Each name as it is written, by the form in which names are compared."""
    return {canonicalize_name(name): name for name in names}


@dataclass(frozen=True, kw_only=True)
class DependencyGraphConfig:
    """Compare the dependencies that our packages declare with what they import."""

    base_dir: Path = option(Path(), help="The checkout, with the packages in its folder sub-packages.")
    out: Path | None = option(None, help="Folder for the pictures declared.png and imported.png. None: no pictures.")


def main(argv: Sequence[str]) -> int:
    """Print the differences; 1 if there are any."""
    config = parse(DependencyGraphConfig, argv, prog="python -m bionemo.fw.dependency_graph")
    packages_dir = config.base_dir / "sub-packages"
    directories = sorted(path.parent.name for path in packages_dir.glob("*/pyproject.toml"))
    if not directories:
        raise ConfigError(f"--base-dir {config.base_dir}: no sub-packages/*/pyproject.toml below it.")
    differences = list(find_differences(packages_dir, directories))
    sys.stdout.writelines(f"{line}\n" for line in differences)
    if config.out is not None:
        visualize_dependency_graph(build_dependency_graph(packages_dir, directories), config.out / "declared.png")
        visualize_dependency_graph(find_bionemo_subpackages(packages_dir, directories), config.out / "imported.png")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(run_command(main, prog="dependency_graph"))
