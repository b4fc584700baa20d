# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import importlib.util
from pathlib import Path

import pytest
import yaml

from bionemo.core.command import run_command
from bionemo.core.data import load as load_module
from bionemo.core.data.resource import get_all_resources


SCRIPT = Path(__file__).with_name("download_artifacts.py")


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script, with a cache that holds one file for every tag."""
    spec = importlib.util.spec_from_file_location("download_artifacts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def load(tag, source):
        path = tmp_path / "cache" / tag.replace("/", "_")
        if tag == "esm2/8m:2.0":
            path.mkdir(parents=True, exist_ok=True)
            (path / "weights").write_text("w")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{tag} from {source}")
        return path

    monkeypatch.setattr(load_module, "load", load)
    monkeypatch.chdir(tmp_path)
    return module


def test_every_name_is_in_the_catalogue_and_has_a_place_of_its_own():
    known = yaml.safe_load(SCRIPT.with_name("artifact_paths.yaml").read_text())
    assert set(known) == {"models", "data"}
    for artifacts in known.values():
        assert {artifact["tag"] for artifact in artifacts.values()} <= set(get_all_resources())
        assert len({artifact["path"] for artifact in artifacts.values()}) == len(artifacts)


def test_links(script, capsys):
    argv = ["--models", "geneformer_qa", "--data", "all", "--source", "ngc"]
    for _ in range(2):  # again: nothing to do
        assert run_command(script.main, argv, prog="p") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "models/singlecell/geneformer/qa.nemo"
    assert len(out) == 2 * 6
    assert Path(out[0]).is_symlink()
    assert Path(out[0]).read_text() == "geneformer/qa from ngc"


def test_copies(script):
    argv = ["--models", "esm2_8m", "geneformer_qa", "--model-dir", "m", "--copy"]
    assert run_command(script.main, argv, prog="p") == 0
    assert Path("m/protein/esm2/8m/weights").read_text() == "w"
    assert not Path("m/protein/esm2/8m").is_symlink()
    assert Path("m/singlecell/geneformer/qa.nemo").read_text() == "geneformer/qa from auto"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--models or --data: give at least one name, or all."),
        (["--models", "esm3"], "--models: no such name: esm3. Known are: esm2_8m, "),
        (["--data", "scdl_sample"], "data/singlecell/scdl_sample: exists already."),
    ],
)
def test_errors(script, capsys, argv, message):
    Path("data/singlecell/scdl_sample").mkdir(parents=True)
    assert run_command(script.main, argv, prog="p") == 2
    assert capsys.readouterr().err.startswith(f"p: error: {message}")
