# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""What the strict build of the site stops at, without building it: docstrings, navigation, links between pages."""

import logging
import re
import subprocess
from pathlib import Path

import pytest


griffe = pytest.importorskip(
    "griffe", reason="the reader of docstrings is a developer's tool, installed in .venv only"
)
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "docs"
# As in docs/mkdocs.yml.
DOCSTRING_OPTIONS = {"warn_missing_types": False, "warn_unknown_params": False}


def public_objects(found: griffe.Object) -> list[griffe.Object]:
    members = [m for m in found.members.values() if not m.is_alias and not m.name.startswith("_")]
    return [found, *(inner for member in members for inner in public_objects(member))]


def docstring_warnings(package: str, folder: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Parse every public docstring as the site does and return what the reader complains about."""
    with caplog.at_level(logging.WARNING, logger="griffe"):
        loaded = griffe.load(package, search_paths=[folder], docstring_parser="google", allow_inspection=False)
        for found in public_objects(loaded):
            if found.docstring is not None:
                found.docstring.parse("google", **DOCSTRING_OPTIONS)
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("source", sorted(ROOT.glob("sub-packages/*/src")), ids=lambda path: path.parent.name)
def test_docstrings_are_read_without_a_warning(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    (package,) = (path.name for path in (source / "bionemo").iterdir() if (path / "__init__.py").is_file())
    assert docstring_warnings(f"bionemo.{package}", source, caplog) == []


def test_a_docstring_that_stops_the_build_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrong = 'def f(x):\n    """Return x.\n\n    Args:\n        no colon here\n    """\n'
    (tmp_path / "broken.py").write_text(wrong)
    (warning,) = docstring_warnings("broken", tmp_path, caplog)
    assert "Failed to get" in warning


def pages() -> list[Path]:
    return sorted(DOCS.rglob("*.md"))


def links(path: Path) -> list[str]:
    """Return the relative targets of a page's links and pictures, without their anchors."""
    text = re.sub(r"(?ms)^```.*?^```$", "", path.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\((?!https?://|#|data:)([^)\s#]+)", text)
    return [target for target in targets if not target.startswith("mailto:")]


def test_links_between_pages_lead_somewhere() -> None:
    """A page that is made while the site is built has a source: a notebook, or a package's README."""
    broken = []
    for page in pages():
        if page.is_symlink():
            continue  # kept at the repository's root, and looked at there
        for target in links(page):
            goal = page.parent / target
            generated = goal.with_suffix(".ipynb").is_file() or "/packages/" in target or "api/" in target
            if not goal.exists() and not generated:
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_links_of_the_repository_lead_somewhere() -> None:
    listing = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "*.md"], check=True, capture_output=True, text=True
    ).stdout
    outside = [
        ROOT / name
        for name in listing.splitlines()
        if not name.startswith("docs/docs/") and not (ROOT / name).is_symlink()
    ]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in outside
        for target in links(page)
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_pages_at_the_root_are_linked_and_not_copied() -> None:
    for name in ("CONTRIBUTING.md", "CODE-REVIEW.md"):
        for link in (ROOT / "docs" / name, DOCS / "developer-guide" / name):
            assert link.is_symlink(), link
            assert link.resolve() == ROOT / name
        assert len((ROOT / name).read_text(encoding="utf-8")) > 1_000


def test_the_navigation_names_every_page_that_is_written_by_hand() -> None:
    nav = re.findall(r"[\w/-]+\.md", (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2])
    written = {path.relative_to(DOCS).as_posix() for path in pages()}
    notebooks = {path.relative_to(DOCS).with_suffix(".md").as_posix() for path in DOCS.rglob("*.ipynb")}
    assert set(nav) == written | notebooks
    assert len(nav) == len(set(nav))
