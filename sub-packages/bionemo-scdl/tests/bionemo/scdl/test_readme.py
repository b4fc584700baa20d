# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What the README tells a reader to type works."""

import importlib
import re
import shlex
from pathlib import Path

from bionemo.core.config import parse
from bionemo.scdl.convert_config import ConvertConfig
from bionemo.scdl.info_config import InfoConfig


README = Path(__file__).parents[3] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_python_blocks_run_in_order(write_h5ad, counts, tmp_path, monkeypatch, capsys):
    import scipy.sparse as sp

    write_h5ad(sp.vstack([sp.csr_matrix(counts)] * 50).tocsr())
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks("python"):
        exec(compile(block, str(README), "exec"), namespace)
    assert namespace["dataset"].shape() == (200, [5])
    assert namespace["matrix"].shape == (128, 5)
    assert len(namespace["batch"]) == 128
    assert namespace["position"] == {"epoch": 0, "position": 1}
    assert "(200, [5]) 0.7 float32" in capsys.readouterr().out


def test_the_commands_parse():
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    kinds = {"convert_h5ad_to_scdl": ConvertConfig, "scdl_info": InfoConfig}
    parsed = [
        parse(kinds[words[0]], words[1:]) for line in lines if (words := shlex.split(line)) and words[0] in kinds
    ]
    assert len(parsed) == 2
    flags = set(re.findall(r"`(--[a-z-]+)", TEXT))
    assert flags <= {"--" + field.replace("_", "-") for field in ConvertConfig.__dataclass_fields__}
    assert len(flags) >= 4


def test_the_names_in_the_tables_exist():
    names = re.findall(r"`((?:util|sampling|io)\.[a-z_]+)\.([A-Za-z_]+)", TEXT)
    assert len(names) >= 5
    for module, name in names:
        assert hasattr(importlib.import_module(f"bionemo.scdl.{module}"), name)


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", TEXT)
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
