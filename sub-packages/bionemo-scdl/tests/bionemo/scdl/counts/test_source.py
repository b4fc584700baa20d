# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which matrix is taken, which columns, and which values are refused: one set of rules for every kind of file."""

import gzip
import subprocess
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from bionemo.core.errors import DataError, FormatError, MissingDependencyError, MissingFileError
from bionemo.scdl.counts import open_counts
from bionemo.testing.single_cell_files import write_anndata_06, write_tenx


LOGS = np.log1p(np.array([[0, 7, 0, 2, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 300], [5, 0, 9, 0, 0]], dtype=np.float32))


def rows_of(source):
    """The whole matrix, read in blocks of few values, then row by row in another order."""
    dense = np.zeros(source.shape)
    for block in source.blocks(max_elements=2, max_rows=3):
        row_of = np.repeat(np.arange(block.lengths.size), block.lengths) + block.first
        np.add.at(dense, (row_of, block.columns), block.values)
    order = np.arange(len(source))[::-1]
    values, columns, row_ptr = source.read(order)
    again = np.zeros(source.shape)
    np.add.at(again, (order[np.repeat(np.arange(order.size), np.diff(row_ptr))], columns), values)
    np.testing.assert_array_equal(dense, again)
    return dense


def test_where_the_counts_lie(write_h5ad, counts):
    logs, layer = sp.csr_matrix(LOGS), {"counts": sp.csc_matrix(counts), "other": counts}
    cases = {
        "raw.X": write_h5ad(sp.csr_matrix(counts), "raw.h5ad"),
        "X": write_h5ad(counts, "x.h5ad", raw=False),
        "layers/counts": write_h5ad(logs, "layer.h5ad", layers=layer),
    }
    for expected, path in cases.items():
        with open_counts(path) as source:
            assert source.matrix_name == expected
            assert source.shape == (4, 5)
            np.testing.assert_array_equal(rows_of(source), counts)
            assert list(source.obs.index[:2]) == ["cell0", "cell1"]
        in_memory = open_counts(anndata.read_h5ad(path))
        assert in_memory.matrix_name == expected
        np.testing.assert_array_equal(rows_of(in_memory), counts)
        backed = open_counts(anndata.read_h5ad(path, backed="r"))
        np.testing.assert_array_equal(rows_of(backed), counts)
    with open_counts(cases["layers/counts"], matrix="other") as source:
        assert source.matrix_name == "layers/other"


def test_a_raw_matrix_of_other_genes_brings_its_own_table(counts, tmp_path):
    adata = anndata.AnnData(counts, var=pd.DataFrame(index=list("abcde")))
    adata.raw = adata.copy()
    adata = adata[:, ["c", "a"]].copy()
    adata.X = np.log1p(adata.X)
    adata.write_h5ad(tmp_path / "a.h5ad")
    with open_counts(tmp_path / "a.h5ad") as source:
        assert (source.matrix_name, list(source.var.index)) == ("raw.X", list("abcde"))


def test_without_counts_every_matrix_is_described(write_h5ad):
    path = write_h5ad(LOGS, layers={"scaled": LOGS - 1})
    with pytest.raises(DataError) as caught:
        open_counts(path)
    message = str(caught.value)
    assert message.startswith(
        f"{path}: no counts found in raw.X, X or the layer counts. raw.X: no counts: 0 to 5.70711"
    )
    assert "; layers/scaled: no counts: -1 to 4.70711, 15 negative" in message
    with pytest.raises(DataError, match=r"no matrix 'nope', found \['raw\.X', 'X', 'layers/scaled'\]"):
        open_counts(path, matrix="nope")
    with open_counts(path, matrix="X", require_counts=False) as source:
        np.testing.assert_allclose(rows_of(source), LOGS)
        assert source.summary.kind == "other"


@pytest.mark.parametrize("wrong", [0.5, -1.0, np.nan, np.inf])
def test_a_value_that_the_sample_missed_is_named(write_h5ad, wrong):
    counts = np.ones((400_000, 1), dtype=np.float32)
    counts[250_001] = wrong
    path = write_h5ad(sp.csr_matrix(counts), raw=False)
    with (
        open_counts(path) as source,
        pytest.raises(DataError, match=rf"X: the value {wrong} in row 250001 is no count"),
    ):
        list(source.blocks())
    with open_counts(path) as source, pytest.raises(DataError, match=rf"the value {wrong}.* is no count"):
        source.read(np.array([5, 250_001]))


MIXED = {"feature_types": ["Gene Expression", "Antibody Capture", "Gene Expression", "Gene Expression", "Peaks"]}


def test_antibodies_are_no_genes(write_h5ad, counts):
    var = pd.DataFrame(MIXED, index=["CD4", "CD4", "LYZ", "MS4A1", "chr1:1-9"])
    path = write_h5ad(sp.csr_matrix(counts), var=var, raw=False)
    with open_counts(path) as source:
        assert list(source.var.index) == ["CD4", "LYZ", "MS4A1"]
        np.testing.assert_array_equal(rows_of(source), counts[:, [0, 2, 3]])
        assert "X: 3 of 5 features are taken (Gene Expression); left out: 1 Antibody Capture, 1 Peaks" in source.report
    with open_counts(path, feature_type="Antibody Capture") as source:
        np.testing.assert_array_equal(rows_of(source), counts[:, [1]])
    with open_counts(path, feature_type="all") as source:
        assert (source.shape, source.report) == ((4, 5), "")
    with pytest.raises(DataError, match=r"no feature is of type 'ATAC'; found 3 Gene Expression, 1 Antibody"):
        open_counts(path, feature_type="ATAC")


def test_gene_biotypes_are_no_feature_types(write_h5ad, counts):
    var = pd.DataFrame({"feature_type": ["protein_coding", "lncRNA", "lncRNA", None, "x"]}, index=list("abcde"))
    with open_counts(write_h5ad(counts, var=var)) as source:
        assert source.shape == (4, 5)


def test_files_of_cell_ranger(counts, tmp_path):
    genes = ["A", "B", "B", "D", "E"]
    third = write_tenx(
        tmp_path / "v3.h5", counts, {"feature_type": MIXED["feature_types"], "genome": ["g"] * 5}, genes
    )
    with open_counts(third) as source:
        np.testing.assert_array_equal(rows_of(source), counts[:, [0, 2, 3]])
        assert source.var["gene_ids"].tolist() == ["ENSG0", "ENSG2", "ENSG3"]
        assert source.obs.index.tolist() == ["AAC0-1", "AAC1-1", "AAC2-1", "AAC3-1"]
    second = write_tenx(tmp_path / "v2.h5", counts, None, genes)
    with open_counts(second) as source:
        np.testing.assert_array_equal(rows_of(source), counts)
        assert list(source.var.index) == genes


@pytest.mark.parametrize(("start", "end"), [("", ""), ("GSM1_", ".gz")])
def test_mtx_folders(counts, tmp_path, start, end):
    opener = gzip.open if end else open
    with opener(tmp_path / f"{start}matrix.mtx{end}", "wb") as file:
        scipy.io.mmwrite(file, sp.coo_matrix(counts.T.astype(int)))
    for name, lines in (
        ("features", [f"ENSG{i}\tG{i}\tGene Expression" for i in range(5)]),
        ("barcodes", list("wxyz")),
    ):
        with opener(tmp_path / f"{start}{name}.tsv{end}", "wt") as file:
            file.write("\n".join(lines) + "\n")
    for path in (tmp_path, tmp_path / f"{start}matrix.mtx{end}"):
        with open_counts(path) as source:
            np.testing.assert_array_equal(rows_of(source), counts)
            assert (list(source.obs.index), source.var["gene_ids"].tolist()[1]) == (list("wxyz"), "ENSG1")
    (tmp_path / f"{start}barcodes.tsv{end}").unlink()
    with pytest.raises(MissingFileError, match=r"barcodes\.tsv \(\.gz\) beside it"):
        open_counts(tmp_path)


def test_zarr_stores(write_h5ad, counts, tmp_path):
    adata = anndata.read_h5ad(write_h5ad(sp.csr_matrix(counts)))
    adata.obs["kind"] = pd.Categorical(["a", "b", None, "a"])
    adata.write_zarr(tmp_path / "a.zarr")
    with open_counts(tmp_path / "a.zarr") as source:
        assert source.matrix_name == "raw.X"
        np.testing.assert_array_equal(rows_of(source), counts)
        assert source.obs["kind"].tolist()[:2] == ["a", "b"]


def test_files_of_anndata_0_6(counts, tmp_path):
    obs = np.array([(b"c0", 0), (b"c1", 1), (b"c2", -1), (b"c3", 0)], dtype=[("index", "S5"), ("kind", "i1")])
    var = np.array([(b"g0",), (b"g1",)], dtype=[("index", "S5")])
    raw_var = np.array([(f"g{i}".encode(), i % 2) for i in range(5)], dtype=[("index", "S5"), ("type", "i1")])
    path = write_anndata_06(
        tmp_path / "old.h5ad",
        {"X": LOGS[:, :2], "obs": obs, "var": var, "categories": {"kind": ["B", "T"]}},
        raw={"X": sp.csr_matrix(counts), "var": raw_var, "categories": {"type": ["rna", "dna"]}},
    )
    with open_counts(path) as source:
        assert source.matrix_name == "raw.X"
        np.testing.assert_array_equal(rows_of(source), counts)
        assert source.var["type"].tolist() == ["rna", "dna", "rna", "dna", "rna"]
        assert source.obs["kind"].astype(object).where(source.obs["kind"].notna(), None).tolist() == [
            "B",
            "T",
            None,
            "B",
        ]


def test_other_files_are_named_with_the_way_to_convert_them(write_h5ad, counts, tmp_path, make_archive):
    path = write_h5ad(counts)
    (tmp_path / "a.h5ad.gz").write_bytes(gzip.compress(path.read_bytes()))
    with h5py.File(tmp_path / "b.loom", "w") as loom, h5py.File(tmp_path / "c.h5", "w") as other:
        loom["matrix"], loom["row_attrs/Gene"], loom["col_attrs/CellID"] = counts, [b"a"], [b"b"]
        other["something"] = counts
    (tmp_path / "d.csv").write_text("a,b\n")
    (tmp_path / "e.h5ad").write_text("nonsense")
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "dataset_dict.json").write_text("{}")
    expected = {
        "a.h5ad.gz": "compressed by gzip. Unpack it: gunzip --keep a.h5ad.gz",
        "b.loom": r"is a loom file. Convert it: anndata\.io\.read_loom",
        "c.h5": r"is a HDF5 file without obs, var and X \(it holds something\); no AnnData file",
        "d.csv": "is a table of text",
        "e.h5ad": "it is no HDF5 file",
        "hf": "is a Hugging Face DatasetDict",
        str(make_archive().data_path): "is an SCDL archive already",
        str(tmp_path): r"is a folder of \d h5ad files",
    }
    for name, message in expected.items():
        with pytest.raises(FormatError, match=message):
            open_counts(tmp_path / name)
    with pytest.raises(MissingFileError, match="no such file or folder"):
        open_counts(tmp_path / "nope")


def test_files_compressed_by_zstd(counts, tmp_path):
    """In a process of its own, in which nothing but the reader has registered the filter."""
    hdf5plugin = pytest.importorskip("hdf5plugin")
    adata = anndata.AnnData(sp.csr_matrix(counts))
    adata.write_h5ad(tmp_path / "a.h5ad", compression=hdf5plugin.FILTERS["zstd"])
    with h5py.File(tmp_path / "a.h5ad") as file:
        assert file["X/data"].id.get_create_plist().get_filter(0)[0] == 32015
    script = (
        "from bionemo.scdl.counts import open_counts; import sys; "
        "print(open_counts(sys.argv[1]).read([0, 2])[0].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "a.h5ad"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[7.0, 2.0, 1.0, 300.0]\n"), done.stderr


def test_a_compression_that_is_not_installed_is_named(write_h5ad, counts):
    path = write_h5ad(counts, raw=False)
    with h5py.File(path, "r+") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((2, 5))
        settings.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, ())
        del file["X"]
        h5py.h5d.create(file.id, b"X", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4, 5)), settings)
    with pytest.raises(
        MissingDependencyError, match=r"X is compressed by the HDF5 filter 32099 .* pip install hdf5plugin"
    ):
        open_counts(path)


def test_files_of_a_newer_anndata_say_so(write_h5ad, counts):
    path = write_h5ad(counts)
    with h5py.File(path, "r+") as file:
        file["var/_index"].attrs["encoding-type"] = "text-of-the-future"
    with pytest.raises(FormatError, match=r"stored as anndata \d[^,]*, which is installed, .* --upgrade anndata"):
        open_counts(path)


def test_pointers_that_overflowed_are_refused(write_h5ad, counts):
    path = write_h5ad(sp.csr_matrix(counts), raw=False)
    with h5py.File(path, "r+") as file:
        file["X/indptr"][-1] = -5
    with open_counts(path) as source, pytest.raises(FormatError, match="row pointers do not fit"):
        source.read(np.array([0]))
