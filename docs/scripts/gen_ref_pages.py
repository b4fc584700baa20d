# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Pages that nobody writes by hand: one per module from its docstrings, one per package README, one per notebook.

MkDocs calls the functions below (`hooks` in mkdocs.yml). The pages exist only while the site is built.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page


SUB_PACKAGES = Path(__file__).resolve().parents[2] / "sub-packages"


def package_dirs() -> list[Path]:
    """List the folders of our packages."""
    return sorted(path.parent for path in SUB_PACKAGES.glob("bionemo-*/pyproject.toml"))


def module_names(package_dir: Path) -> list[str]:
    """List a package's public modules, parents first."""
    src = package_dir / "src"
    names = []
    for path in src.rglob("*.py"):
        parts = path.relative_to(src).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            names.append(".".join(parts))
    return sorted(names)


def api_page(module: str) -> str:
    """Return where the page of a module is, below the documentation's root."""
    return f"api/{module.replace('.', '/')}.md"


def readme_page(package_dir: Path) -> str:
    """Return where the page of a package's README is."""
    return f"user-guide/packages/{package_dir.name}.md"


def readme_text(package_dir: Path) -> str:
    """Read a README; links to files of the repository become plain text, for the site does not hold those files.

    Pictures are put into the page itself.
    """
    text = (package_dir / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?://|#)[^)]+\)", r"\1", text)
    return re.sub(r"(?<=\]\()(?!https?://)[^)]+\.png(?=\))", lambda found: embedded(package_dir / found.group()), text)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of a page that is kept at the repository's root into links between pages of the site."""
    source = page.file.abs_src_path
    if source is None or not Path(source).is_symlink():
        return markdown
    within_site = re.sub(r"(?<=\]\()docs/docs/", "../", markdown)
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?://|#|\.\./)[^)]+\)", r"\1", within_site)


def embedded(png_path: Path) -> str:
    """Return a picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png_path.read_bytes()).decode()}"


def notebook_text(path: Path) -> str:
    """Turn a rendered notebook into Markdown with its printed text and figures."""
    blocks = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(source)
            continue
        blocks.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                blocks.append(f"![figure](data:image/png;base64,{data['image/png']})")
            elif text := "".join(output.get("text", data.get("text/plain", []))):
                blocks.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(blocks) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    packages: list[Any] = [{path.name: readme_page(path)} for path in package_dirs()]
    modules: list[Any] = [{path.name: [{m: api_page(m)} for m in module_names(path)]} for path in package_dirs()]
    config.nav = [*(config.nav or []), {"Packages": packages}, {"API reference": modules}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages themselves, and a page in place of each notebook."""
    for package_dir in package_dirs():
        files.append(File.generated(config, readme_page(package_dir), content=readme_text(package_dir)))
        for module in module_names(package_dir):
            files.append(File.generated(config, api_page(module), content=f"# {module}\n\n::: {module}\n"))
    for file in list(files):
        if file.src_uri.endswith(".ipynb") and file.abs_src_path is not None:
            page = str(Path(file.src_uri).with_suffix(".md"))
            files.append(File.generated(config, page, content=notebook_text(Path(file.abs_src_path))))
    return files
