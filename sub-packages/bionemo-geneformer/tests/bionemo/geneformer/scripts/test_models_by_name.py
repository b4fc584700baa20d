# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that open a model by its published name, from flags to files, against a Hub on the loopback interface."""

from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest

from bionemo.geneformer import Geneformer
from bionemo.geneformer.embedding.results_table import read_embeddings
from bionemo.geneformer.scripts import convert_geneformer, infer_geneformer, train_geneformer
from bionemo.testing.cells import make_cells
from bionemo.testing.hub_server import HubServer


pytest.importorskip("transformers")

REPO, MODEL = "ctheodoris/Geneformer", "Geneformer-V2-104M"


@pytest.fixture
def cells(hub: HubServer, write_geneformer_repository, tmp_path: Path) -> Path:
    """Cells whose genes the published model knows; the model is small."""
    drawn = make_cells(20, num_genes=12, counts_per_cell=300)
    hub.publish(REPO, write_geneformer_repository(tmp_path / "repo", "V2", model=MODEL, genes=drawn.gene_ids))
    drawn.to_anndata().write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@pytest.mark.parametrize("flag", ["--checkpoint", "--checkpoint-path"])
def test_infer_geneformer_takes_a_name_and_no_further_file(
    flag: str, cells: Path, hub: HubServer, tmp_path: Path
) -> None:
    paths = ("--data-path", str(cells), "--results-path", str(tmp_path / "out"))
    assert infer_geneformer.main([flag, f"{REPO}:{MODEL}", *paths, "--accelerator", "cpu"]) == 0
    import anndata

    adata = anndata.read_h5ad(cells)
    Geneformer.from_pretrained(tmp_path / "repo" / MODEL, device="cpu").embed(adata)
    ids, embeddings = read_embeddings(tmp_path / "out")[:2]
    assert list(ids) == list(adata.obs_names)
    np.testing.assert_allclose(embeddings, adata.obsm["X_geneformer"], atol=1e-5)


def test_training_starts_from_a_name_and_a_conversion_keeps_its_dictionaries(
    cells: Path, hub: HubServer, tmp_path: Path
) -> None:
    start = ("--restore-from-checkpoint-path", f"{REPO}:{MODEL}", "--train-tokens", str(cells))
    run = ("--result-dir", str(tmp_path / "results"), "--accelerator", "cpu", "--seq-length", "64")
    assert train_geneformer.main([*start, *run, "--num-steps", "1", "--num-dataset-workers", "0"]) == 0
    card = (tmp_path / "results/geneformer/checkpoints/last/README.md").read_text()
    assert f'base_model: "{REPO}"' in card
    assert convert_geneformer.main([f"{REPO}:{MODEL}", str(tmp_path / "converted")]) == 0
    assert (tmp_path / "converted/geneformer.vocab").is_file()


def test_without_network_and_cache_the_line_names_the_cache(
    cells: Path, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    paths = ("--data-path", str(cells), "--results-path", str(tmp_path / "out"))
    assert infer_geneformer.main(["--checkpoint", f"{REPO}:{MODEL}", *paths]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert f"{REPO}:{MODEL}: not in the cache {tmp_path / 'cache'}, and HF_HUB_OFFLINE is set" in line
    assert hub.requests == []
    assert not (tmp_path / "out").exists()
