#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Draw the layers of the packages, and of the rooms in each, from the imports in the sources.

    python docs/scripts/draw_layers.py           # writes docs/docs/assets/images/layers.svg
    python docs/scripts/draw_layers.py --check   # exits with 1 where that file is not what the sources give

A package stands above everything that it imports; an arrow leads to the nearest. A room is a folder of a package;
`*.py` stands for the modules beside the folders.
"""

import argparse
import sys
from html import escape
from pathlib import Path

import networkx


ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "ci" / "scripts"))
from check_import_circles import import_graph  # noqa: E402 - a script beside this one's folder


TARGET = ROOT / "docs" / "docs" / "assets" / "images" / "layers.svg"
BOX_WIDTH, LINE_HEIGHT, TITLE_HEIGHT, GAP = 214, 19, 30, 26
FLOOR_GAP = 46
FLAT = "*.py"


def package_of(module: str) -> str:
    """Return "llm" for "bionemo.llm.data.masking"."""
    return module.split(".")[1]


def floors(graph: networkx.DiGraph) -> dict[str, int]:
    """Number the floors of a graph, from 0 for what imports nothing else; members of a circle share one."""
    condensed = networkx.condensation(graph)
    height: dict[int, int] = {}
    for node in reversed(list(networkx.topological_sort(condensed))):
        height[node] = max((height[below] + 1 for below in condensed.successors(node)), default=0)
    return {name: height[condensed.graph["mapping"][name]] for name in graph}


def quotient(graph: networkx.DiGraph, group: dict[str, str]) -> networkx.DiGraph:
    """Merge the modules of each group."""
    merged = networkx.DiGraph()
    merged.add_nodes_from(group.values())
    edges = ((group[a], group[b]) for a, b in graph.edges)
    merged.add_edges_from((a, b) for a, b in edges if a != b)
    return merged


def rooms_of(graph: networkx.DiGraph, package: str) -> list[str]:
    """List the folders of a package, then `*.py` where modules lie beside them."""
    members = [module.split(".") for module in graph if package_of(module) == package]
    folders = {parts[2] for parts in members if len(parts) > 3}
    flat = any(len(parts) == 3 and parts[2] not in folders for parts in members)
    return [*sorted(folders), *([FLAT] if flat else [])]


def draw(graph: networkx.DiGraph) -> str:
    """Return the picture as SVG text."""
    packages = quotient(graph, {module: package_of(module) for module in graph})
    floor = floors(packages)
    rooms = {package: rooms_of(graph, package) for package in packages}
    rows = [sorted(p for p in packages if floor[p] == number) for number in sorted(set(floor.values()), reverse=True)]
    width = max(len(row) for row in rows) * (BOX_WIDTH + GAP) + GAP
    boxes: dict[str, tuple[float, float, float]] = {}  # left, top, height
    top: float = GAP
    for row in rows:
        left = (width - len(row) * (BOX_WIDTH + GAP) + GAP) / 2
        height = TITLE_HEIGHT + LINE_HEIGHT * max(len(rooms[package]) for package in row) + 8
        for number, package in enumerate(row):
            boxes[package] = (left + number * (BOX_WIDTH + GAP), top, height)
        top += height + FLOOR_GAP
    arrows = [arrow(boxes[a], boxes[b]) for a, b in sorted(networkx.transitive_reduction(packages).edges)]
    drawn = [box(package, boxes[package], rooms[package]) for package in sorted(packages)]
    return "\n".join([head(width, top - FLOOR_GAP + GAP), *arrows, *drawn, "</svg>\n"])


def head(width: float, height: float) -> str:
    """Return what the picture begins with: the licence, size, title, background and the head of an arrow."""
    notice = "\n".join((ROOT / "license_header").read_text(encoding="utf-8").split("\n")).strip()
    return (
        f"<!--\n{notice}\nDrawn by docs/scripts/draw_layers.py\n-->\n"
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        'font-family="sans-serif" role="img">\n'
        "<title>Packages, and the rooms in each, above what they import</title>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>\n'
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>'
    )


def arrow(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    """Return a line from the lower edge of one box to the upper edge of another."""
    x1, y1 = start[0] + BOX_WIDTH / 2, start[1] + start[2]
    x2, y2 = end[0] + BOX_WIDTH / 2, end[1]
    return (
        f'<path d="M{x1:g} {y1:g}C{x1:g} {(y1 + y2) / 2:g} {x2:g} {(y1 + y2) / 2:g} {x2:g} {y2:g}" fill="none" '
        'stroke="#57606a" stroke-width="1.5" marker-end="url(#head)"/>'
    )


def box(package: str, place: tuple[float, float, float], lines: list[str]) -> str:
    """Return the box of a package with its rooms."""
    left, top, height = place
    text = [
        f'<rect x="{left:g}" y="{top:g}" width="{BOX_WIDTH}" height="{height:g}" rx="6" fill="#f2f8ec" '
        'stroke="#4c8a00" stroke-width="1.5"/>',
        f'<text x="{left + 12:g}" y="{top + 21:g}" font-size="15" font-weight="bold" fill="#1f2328">{package}</text>',
    ]
    for number, line in enumerate(lines):
        y = top + TITLE_HEIGHT + LINE_HEIGHT * number + 13
        text.append(f'<text x="{left + 12:g}" y="{y:g}" font-size="13" fill="#1f2328">{escape(line)}</text>')
    return "\n".join(text)


def main(argv: list[str] | None = None) -> int:
    """Write the picture, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="Write nothing; exit with 1 where the file is out of date."
    )
    args = parser.parse_args(argv)
    picture = draw(import_graph(ROOT))
    if not args.check:
        TARGET.write_text(picture, encoding="utf-8")
    elif not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != picture:
        print(f"{TARGET.relative_to(ROOT)} is out of date; run docs/scripts/draw_layers.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
