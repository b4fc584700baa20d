# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import io

import numpy as np
import pytest

from bionemo.core.errors import ConfigError, DataError
from bionemo.geneformer.embedding.results_table import read_embeddings
from bionemo.geneformer.geneformer import Geneformer
from bionemo.geneformer.scripts.infer_geneformer import main


@pytest.mark.parametrize(("variant", "kind"), [("V1", "cell"), ("V2", "cls"), ("V2", "cell"), ("BIONEMO", "cls")])
def test_the_embeddings_are_those_of_the_command(tmp_path, embedding_files, variant, kind):
    files = embedding_files(variant)
    adata = files.cells.to_anndata()
    Geneformer.from_pretrained(files.checkpoint, device="cpu").embed(
        adata, key_added="X_mine", embedding=None if kind == ("cell" if variant == "V1" else "cls") else kind
    )
    arguments = ["--checkpoint-path", str(files.checkpoint), "--data-dir", str(files.h5ad), "--embedding", kind]
    assert main([*arguments, "--results-path", str(tmp_path / "out"), "--accelerator", "cpu"]) == 0
    np.testing.assert_array_equal(adata.obsm["X_mine"], read_embeddings(tmp_path / "out")[1])
    assert list(adata.obsm) == ["X_mine"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_shows_how_many_cells_are_embedded(embedding_files, monkeypatch):
    files = embedding_files("V1")
    model = Geneformer.from_pretrained(files.checkpoint, device="cpu")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    model.embed(files.cells.to_anndata())
    assert "Embedding" in terminal.getvalue()
    assert "30.0/30.0" in terminal.getvalue()


def test_layers_of_counts_symbols_and_empty_cells(embedding_files):
    files = embedding_files("V2")
    model = Geneformer.from_pretrained(files.checkpoint, device="cpu")
    adata = files.cells.to_anndata()
    model.embed(adata)
    expected = adata.obsm["X_geneformer"]
    adata.layers["counts"] = adata.X.copy()
    adata.X = np.log1p(adata.X.toarray())
    adata.var["symbol"] = [f"SYM{number}" for number in range(adata.n_vars)]
    model.embed(adata, "X_again", counts_layer="counts", gene_column="symbol")
    np.testing.assert_array_equal(adata.obsm["X_again"], expected)
    dense = files.cells.counts.toarray()
    dense[7] = 0
    adata.layers["counts"] = dense
    with pytest.raises(DataError, match="cell 7 has no counts of known genes"):
        model.embed(adata, "X_none", counts_layer="counts")
    assert "X_none" not in adata.obsm
    model.embed(adata, "X_nan", counts_layer="counts", empty_cells="nan")
    assert np.isnan(adata.obsm["X_nan"][7]).all()
    np.testing.assert_allclose(adata.obsm["X_nan"][:7], expected[:7], atol=1e-5)


def test_what_cannot_be_embedded_is_refused(embedding_files):
    files = embedding_files("V1")
    model = Geneformer.from_pretrained(files.checkpoint, device="cpu")
    adata = files.cells.to_anndata()
    with pytest.raises(ConfigError, match="V1 has no first token for the cell"):
        model.embed(adata, embedding="cls")
    with pytest.raises(ConfigError, match="layer 1: expected 0"):
        model.embed(adata, layer=1)
    adata.X = np.log1p(adata.X.toarray())
    with pytest.raises(
        DataError, match=r"log-normalized by their range\. Ranking needs raw counts: name a matrix with counts_layer"
    ):
        model.embed(adata)
    model.dictionaries = model.dictionaries._replace(medians={})
    with pytest.raises(ConfigError, match="gene_medians: the checkpoint holds none"):
        model.embed(files.cells.to_anndata())
