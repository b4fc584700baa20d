# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Files as people have them give the tokens of the same counts in memory; what is something else is named."""

import pickle
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from scipy import sparse
from torch.utils.data import DataLoader

from bionemo.core.errors import DataError, FormatError
from bionemo.geneformer.data.count_sources import open_adata, open_counts
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.open_cells import CountReading, open_cells
from bionemo.geneformer.data.tokenize_on_read import TokenizedOnRead
from bionemo.geneformer.embedding.config import InferGeneformerConfig
from bionemo.geneformer.evaluation.config import EvaluateGeneformerConfig
from bionemo.geneformer.finetune_config import FinetuneGeneformerConfig
from bionemo.geneformer.medians_config import GeneformerMediansConfig
from bionemo.geneformer.perturbation.config import PerturbGeneformerConfig
from bionemo.geneformer.tokenize_config import TokenizeGeneformerConfig
from bionemo.geneformer.tokenize_counts import file_stamps
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import VARIANTS
from bionemo.testing.cells import make_cells
from bionemo.testing.single_cell_files import write_anndata_06, write_tenx


CELLS = make_cells(20, num_genes=30, counts_per_cell=60)
DENSE = CELLS.counts.toarray().astype(np.float32)
LOGS = np.log1p(DENSE)
MEDIANS = dict.fromkeys(CELLS.gene_ids, 1.0)
DICTIONARIES = Dictionaries(
    GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, {}, variant=VARIANTS["V2"]), MEDIANS, {}
)
ROWS = np.array([7, 3, 3, 19, 0, 8, 9])


def split(cells, rows=ROWS):
    tokens, lengths = cells.read(rows)
    return [tokens[a:b].tolist() for a, b in pairwise([0, *np.cumsum(lengths).tolist()])]


def tokens_of(source):
    return split(TokenizedOnRead(source, DICTIONARIES))


@pytest.fixture(scope="module")
def expected():
    return tokens_of(open_adata(CELLS.to_anndata()))


def adata_of(x):
    return anndata.AnnData(x, var=pd.DataFrame(index=CELLS.gene_ids), obs=pd.DataFrame(index=map(str, range(20))))


def write_h5ad(path, layout=sparse.csr_matrix):
    adata_of(layout(DENSE)).write_h5ad(path, compression="gzip")


def write_cellxgene(path):
    adata = adata_of(sparse.csr_matrix(DENSE))
    adata.raw = adata.copy()
    adata.X = sparse.csr_matrix(LOGS)
    adata.write_h5ad(path)


def write_counts_in_x_only(path):
    adata = adata_of(LOGS)
    adata.raw = adata.copy()
    adata.X = sparse.csr_matrix(DENSE)
    adata.write_h5ad(path)


def write_counts_in_a_layer(path):
    adata = adata_of(LOGS)
    adata.layers["counts"] = sparse.csc_matrix(DENSE)
    adata.write_h5ad(path)


def write_mtx(path):
    path.mkdir()
    scipy.io.mmwrite(path / "matrix.mtx", sparse.coo_matrix(DENSE.T.astype(int)))
    (path / "barcodes.tsv").write_text("".join(f"AAC{i}\n" for i in range(20)))
    (path / "features.tsv").write_text("".join(f"{gene}\tname\tGene Expression\n" for gene in CELLS.gene_ids))


def write_06(path):
    genes = np.array([(gene.encode(),) for gene in CELLS.gene_ids], dtype=[("index", "S20")])
    names = np.array([(f"c{i}".encode(), i % 2) for i in range(20)], dtype=[("index", "S5"), ("kind", "i1")])
    kinds = np.array([(*gene, 0) for gene in genes], dtype=[("index", "S20"), ("type", "i1")])
    parts = {"X": LOGS, "obs": names, "var": genes, "categories": {"kind": ["B", "T"]}}
    raw = {"X": sparse.csr_matrix(DENSE), "var": kinds, "categories": {"type": ["rna"]}}
    write_anndata_06(path, parts, raw=raw)


FORMS = {
    "csc.h5ad": lambda path: write_h5ad(path, sparse.csc_matrix),
    "csr.h5ad": write_h5ad,
    "dense.h5ad": lambda path: write_h5ad(path, np.asarray),
    "cellxgene.h5ad": write_cellxgene,
    "x.h5ad": write_counts_in_x_only,
    "layer.h5ad": write_counts_in_a_layer,
    "store.zarr": lambda path: adata_of(sparse.csr_matrix(DENSE)).write_zarr(path),
    "cellranger.h5": lambda path: write_tenx(path, DENSE, {"feature_type": ["Gene Expression"] * 30}, CELLS.gene_ids),
    "mtx": write_mtx,
    "old.h5ad": write_06,
}


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("form", FORMS)
def test_any_file_gives_the_tokens_of_its_counts(form, expected, tmp_path):
    if form == "cellranger.h5":  # the helper numbers its gene ids
        genes = [f"ENSG{i}" for i in range(30)]
        medians = dict.fromkeys(genes, 1.0)
        tokenizer = GeneTokenizer.from_medians_and_genes_dicts(medians, {}, variant=VARIANTS["V2"])
        dictionaries = Dictionaries(tokenizer, medians, {})
        adata = adata_of(sparse.csr_matrix(DENSE))
        adata.var_names = genes
        expected = split(TokenizedOnRead(open_adata(adata), dictionaries))
    else:
        dictionaries = DICTIONARIES
    FORMS[form](tmp_path / form)
    cells = TokenizedOnRead(open_counts(tmp_path / form), dictionaries)
    assert split(cells) == expected
    assert len(cells.source.obs()) == 20
    copy = pickle.loads(pickle.dumps(cells))  # noqa: S301 our own bytes; what a spawned worker gets
    assert split(copy) == expected
    workers = DataLoader(cells_of := Batches(cells), batch_size=None, num_workers=2)
    assert list(workers) == [split(cells, rows) for rows in cells_of.batches]


class Batches:
    """A dataset whose workers read from a source that this process has read from."""

    def __init__(self, cells):
        self.cells, self.batches = cells, [ROWS, np.array([1, 2]), np.arange(20)]

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return split(self.cells, self.batches[index])


def test_a_matrix_of_columns_is_sorted_once_into_files_that_go_away(expected, tmp_path, monkeypatch):
    write_h5ad(tmp_path / "csc.h5ad", sparse.csc_matrix)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cells = TokenizedOnRead(open_counts(tmp_path / "csc.h5ad"), DICTIONARIES)
    (folder,) = tmp_path.glob("csr-*")
    copy = pickle.loads(pickle.dumps(cells))  # noqa: S301 our own bytes
    assert list(tmp_path.glob("csr-*")) == [folder]
    assert split(copy) == expected
    del copy
    assert split(cells) == expected
    del cells
    assert not list(tmp_path.glob("csr-*"))


def test_only_what_is_ranked_is_read(expected, tmp_path):
    path = tmp_path / "cells.h5ad"
    write_h5ad(path)
    with h5py.File(path, "r+") as file:  # 80 GB each, of which nothing is stored
        for name in ("layers/other", "obsm/X_pca", "varm/PCs"):
            file.create_dataset(name, (20, 10**9), "f4", chunks=(1, 2**20))
    assert tokens_of(open_counts(path)) == expected


def test_estimated_counts_on_request(tmp_path):
    adata = adata_of(sparse.csr_matrix(DENSE + 0.25 * (DENSE > 0)))
    adata.layers["scaled"] = DENSE - 1
    with pytest.raises(DataError, match=r"no counts found .*X: no counts: 1\.25 .*; layers/scaled.*allow_fractional"):
        open_adata(adata)
    source = open_adata(adata, allow_fractions=True)
    assert source.name == "adata: X"
    assert source.read(np.arange(20)).values.min() == 1.25
    adata.layers["counts"] = DENSE  # whole numbers come first all the same
    assert open_adata(adata, allow_fractions=True).name == "adata: layers/counts"
    adata.X = -DENSE
    del adata.layers["counts"]
    with pytest.raises(DataError, match="no counts found"):
        open_adata(adata, allow_fractions=True)


def test_the_counts_layer_reaches_every_command():
    for config in (InferGeneformerConfig, FinetuneGeneformerConfig, PerturbGeneformerConfig):
        arguments = SimpleNamespace(
            counts_layer="spliced",
            feature_type="Peaks",
            gene_column=None,
            allow_fractional_counts=False,
            min_coverage=0.3,
        )
        reading = config.reading(arguments, max_length=9)
        assert (reading.counts_layer, reading.feature_type) == ("spliced", "Peaks")
    for config in (TokenizeGeneformerConfig, GeneformerMediansConfig, EvaluateGeneformerConfig):
        assert {"counts_layer", "feature_type"} <= set(config.__dataclass_fields__)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("cells.h5ad.gz", lambda p: p.write_bytes(b"\x1f\x8b1234567"), "is compressed by gzip. Unpack it: gunzip"),
        ("cells.loom", lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "is a loom file. Convert it: "),
        ("cells.rds", lambda p: p.write_bytes(b"\x1f\x8b12345678"), "is an R object. Convert it in R"),
        (
            "dict",
            lambda p: (p / "train").mkdir(parents=True) or (p / "dataset_dict.json").write_text("{}"),
            r"is a Hugging Face DatasetDict with the splits train\..*give one: .*dict/train",
        ),
        (
            "folder",
            lambda p: p.mkdir() or write_h5ad(p / "a.h5ad"),
            "is a folder of 1 h5ad files.*convert_h5ad_to_scdl --data-path",
        ),
        ("empty", Path.mkdir, "holds neither an SCDL archive nor a zarr store"),
    ],
)
def test_other_inputs_are_named_with_the_way_on(name, write, message, tmp_path):
    write(tmp_path / name)
    with pytest.raises(FormatError, match=f"{name}: {message}") as caught:
        open_cells(tmp_path / name, DICTIONARIES, CountReading())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix])
def test_pointers_that_overflowed_are_refused(layout, tmp_path):
    dense = np.arange(12, dtype=np.float32).reshape(4, 3)
    path = tmp_path / "cells.h5ad"
    anndata.AnnData(layout(dense)).write_h5ad(path)
    found = open_counts(path).read(np.arange(4))
    assert (found.values.sum(), found.row_ptr.tolist()) == (66, [0, 2, 5, 8, 11])
    for position, wrong in ((1, -(2**31) + 5), (-1, 12)):
        with h5py.File(path, "r+") as file:
            right, file["X/indptr"][position] = file["X/indptr"][position], wrong
        with pytest.raises(FormatError, match=r"cells.h5ad: X: the (row|column) pointers do not fit the 11 values"):
            open_counts(path).read(np.arange(4))
        with h5py.File(path, "r+") as file:
            file["X/indptr"][position] = right


def test_a_run_is_resumed_with_the_same_files_only(tmp_path):
    adata_of(sparse.csr_matrix(DENSE)).write_zarr(tmp_path / "store.zarr")
    write_mtx(tmp_path / "mtx")
    for name in ("store.zarr", "mtx"):
        config = SimpleNamespace(
            data_path=tmp_path / name, token_dictionary=None, gene_medians=None, gene_mapping=None, gene_names=None
        )
        before = file_stamps(config)
        assert before == file_stamps(config)
        next(path for path in (tmp_path / name).rglob("*") if path.is_file()).write_bytes(b"changed")
        assert file_stamps(config) != before
