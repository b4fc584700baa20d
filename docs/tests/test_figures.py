# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""A published figure has one source, docs/figures.toml, and every page that prints it prints the same."""

import re
import tomllib
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[2]
FIGURES = tomllib.loads((ROOT / "docs" / "figures.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FIGURES)
def test_pages_print_the_figures_as_they_are_listed(name: str) -> None:
    figure = FIGURES[name]
    assert (ROOT / figure["command"].removeprefix("python ")).is_file()
    missing = [
        f"{page}: {value}"
        for page in figure["pages"]
        for value in figure["values"]
        if value not in (ROOT / page).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_every_figure_of_the_readme_is_listed() -> None:
    rows = re.findall(r"(?m)^\|.*\| `(python benchmarks/[^`]+)` \|$", (ROOT / "README.md").read_text(encoding="utf-8"))
    listed = {figure["command"] for figure in FIGURES.values() if "README.md" in figure["pages"]}
    assert len(rows) >= 6
    assert set(rows) <= listed


def test_a_rate_beside_a_listed_benchmark_is_the_listed_one() -> None:
    """A paragraph that names a benchmark and a rate in millions prints the figure that is listed for it."""
    wrong = []
    for figure in FIGURES.values():
        for page in figure["pages"]:
            for paragraph in re.split(r"\n\n|\n(?=\|)", (ROOT / page).read_text(encoding="utf-8")):
                rates = re.findall(r"\d[\d.]* M(?= tokens per)", paragraph) if figure["command"] in paragraph else []
                wrong += [f"{page}: {rate}" for rate in rates if rate not in figure["values"]]
    assert wrong == []
