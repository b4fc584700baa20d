#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""List the import circles inside our packages: modules that can only be understood together.

Counted is every import in the sources, wherever it stands: at the top of a module, inside a function, below
`TYPE_CHECKING`, and as a string such as "bionemo.esm2.train:train" that is imported on use. A circle is a strongly
connected component of that graph with more than one module.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import networkx


ROOT = Path(__file__).resolve().parents[2]
REASONS = {
    "bionemo.esm2.model.model": "BioNeMo 2's ESM2Config builds and loads its model; the layout translates that config",
    "bionemo.geneformer.model.config": "GeneformerConfig names its checkpoint layout, which translates that config",
    "bionemo.llm.model.biobert.config": "BioNeMo 2's BioBertConfig.configure_model builds the model made from it",
    "bionemo.scdl.io.single_cell_memmap_dataset": "BioNeMo 2's dataset class has methods for each job on an archive",
}
"""Why a circle stays, by one of its modules."""
MODULE_IN_STRING = re.compile(r"(bionemo(?:\.\w+)+)(?::[\w.]+)?")


def source_folders(root: Path) -> list[Path]:
    """List the folders that hold the packages' sources."""
    return sorted(root.glob("sub-packages/*/src"))


def modules_named_in_strings(path: Path) -> Iterator[str]:
    """Yield what stands as a module path in a string of one file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            match = MODULE_IN_STRING.fullmatch(node.value)
            if match:
                yield match.group(1)


def import_graph(root: Path) -> networkx.DiGraph:
    """Build the graph of all our modules, an edge from each to what it imports."""
    folders = source_folders(root)
    sys.path[:0] = [str(folder) for folder in folders]
    packages = [f"bionemo.{path.name}" for folder in folders for path in sorted((folder / "bionemo").glob("[!_.]*"))]
    found = grimp.build_graph(*packages, cache_dir=None)
    graph = networkx.DiGraph()
    graph.add_nodes_from(found.modules)
    for module in found.modules:
        graph.add_edges_from((module, imported) for imported in found.find_modules_directly_imported_by(module))
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            named = set(modules_named_in_strings(path)) & found.modules
            graph.add_edges_from((module, other) for other in named - {module})
    return graph


def circles(graph: networkx.DiGraph) -> list[list[str]]:
    """Return the modules of each circle, larger circles first."""
    components = (sorted(component) for component in networkx.strongly_connected_components(graph))
    return sorted((names for names in components if len(names) > 1), key=lambda names: (-len(names), names))


def main(argv: list[str] | None = None) -> int:
    """Print the circles; exit 1 when there are more, or larger ones, than allowed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="Checkout to look at.")
    parser.add_argument("--max-circles", type=int, default=5, help="Number of circles allowed.")
    parser.add_argument("--max-modules", type=int, default=5, help="Number of modules allowed in one circle.")
    args = parser.parse_args(argv)
    found = circles(import_graph(args.root.resolve()))
    for names in found:
        print(f"        {len(names)} modules: {', '.join(names)}")
        reasons = [REASONS[name] for name in names if name in REASONS]
        print(f"            {reasons[0]}" if reasons else "            no reason stands in REASONS")
    largest = max((len(names) for names in found), default=0)
    print(f"        {len(found)} import circles (at most {args.max_circles}), the largest of {largest} modules")
    if len(found) > args.max_circles or largest > args.max_modules:
        advice = "move what both sides need into a module of its own, which imports neither"
        print(f"check_import_circles.py: error: {advice}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
