# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The README's commands exist and its Python example does what its comments say."""

import importlib
import re
import tomllib
from pathlib import Path

from bionemo.testing.cells import make_cells


PACKAGE = Path(__file__).parents[3]
README = (PACKAGE / "README.md").read_text(encoding="utf-8")


def test_python_example_prints_what_it_says(hub, write_geneformer_repository, tmp_path, capsys) -> None:
    """The Hub is one on the loopback interface; the model is small and random."""
    cells = make_cells(4, num_genes=12, counts_per_cell=300)
    root = write_geneformer_repository(tmp_path / "repo", "V2", model="Geneformer-V2-104M", genes=cells.gene_ids)
    hub.publish("ctheodoris/Geneformer", root)
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {"adata": cells.to_anndata()})
    said = re.findall(r"^print\(.*\)  # (.*)$", code, flags=re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == said


def test_every_command_is_registered_and_imports() -> None:
    scripts = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(re.findall(r"^\| `(\w+_geneformer|geneformer_\w+)` \|", README, flags=re.MULTILINE)) == set(scripts)
    for place in scripts.values():
        module, _, name = place.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_every_flag_of_a_command_exists() -> None:
    from bionemo.core.config import config_fields

    lines = "".join(re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)).replace("\\\n", " ").splitlines()
    lines = [line for line in lines if not line.startswith("pip ")]
    assert len(lines) == 5
    for line in lines:
        command, *words = line.split()
        config = importlib.import_module(f"bionemo.geneformer.scripts.{command}").main.config_class
        known = {spelling for field in config_fields(config) for spelling in field.flags}
        assert {word for word in words if word.startswith("--")} <= known
