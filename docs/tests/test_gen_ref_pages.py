# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest


pytest.importorskip("mkdocs", reason="mkdocs is a developer's tool, installed in .venv only")


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "scripts" / "gen_ref_pages.py"
    spec = importlib.util.spec_from_file_location("gen_ref_pages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_nine_packages_have_pages(pages: ModuleType) -> None:
    names = ["core", "esm2", "example_model", "fw", "geneformer", "llm", "scdl", "testing", "webdatamodule"]
    assert [path.name for path in pages.package_dirs()] == [f"bionemo-{name}" for name in names]


def test_public_modules_get_a_page_and_private_ones_none(pages: ModuleType, tmp_path: Path) -> None:
    package = tmp_path / "src" / "bionemo" / "x"
    (package / "room").mkdir(parents=True)
    (package / "_hidden").mkdir()
    for name in ("__init__.py", "api.py", "_private.py", "__main__.py", "room/__init__.py", "_hidden/inside.py"):
        (package / name).touch()
    assert pages.module_names(tmp_path) == ["bionemo.x", "bionemo.x.api", "bionemo.x.room"]
    assert pages.api_page("bionemo.x.api") == "api/bionemo/x/api.md"


def test_links_into_the_checkout_become_text_and_pictures_part_of_the_page(pages: ModuleType, tmp_path: Path) -> None:
    text = "[code](src/x.py), [site](https://example.org), [below](#a), ![plot](p.png)"
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "p.png").write_bytes(b"png")
    expected = "code, [site](https://example.org), [below](#a), ![plot](data:image/png;base64,cG5n)"
    assert pages.readme_text(tmp_path) == expected


def test_a_notebook_becomes_text_with_outputs_and_figures(pages: ModuleType, tmp_path: Path) -> None:
    stream = {"output_type": "stream", "name": "stdout", "text": ["21\n"]}
    figure = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo="}, "metadata": {}}
    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {"cell_type": "code", "source": ["print(21)"], "outputs": [stream, figure]},
    ]
    path = tmp_path / "tutorial.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    assert pages.notebook_text(path) == (
        "# Title\n\n```python\nprint(21)\n```\n\n```text\n21\n```\n\n![figure](data:image/png;base64,iVBORw0KGgo=)\n"
    )


def test_links_of_a_page_at_the_root_lead_to_pages_of_the_site(pages: ModuleType, tmp_path: Path) -> None:
    text = (
        "![a](docs/docs/assets/a.svg) [b](docs/docs/developer-guide/b.md) [c](CODEOWNERS) [d](#d) [e](https://e.org)"
    )
    (tmp_path / "root.md").write_text(text)
    (tmp_path / "link.md").symlink_to("root.md")

    def seen(name: str) -> str:
        page = SimpleNamespace(file=SimpleNamespace(abs_src_path=str(tmp_path / name)))
        return pages.on_page_markdown(text, page, config=None, files=None)

    expected = "![a](../assets/a.svg) [b](../developer-guide/b.md) c [d](#d) [e](https://e.org)"
    assert seen("link.md") == expected
    assert seen("root.md") == text
