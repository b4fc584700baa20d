# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Folders as people have them: counts in other places, antibodies, equal barcodes, duplicates, other genes."""

import subprocess
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.scdl.scripts.convert_h5ad_to_scdl import main


def convert(folder, out, *flags):
    return main(["--data-path", str(folder), "--save-path", str(out), "--num-workers", "1", *flags])


def dense_of(path):
    dataset = SingleCellMemMapDataset.open(path)
    assert dataset.verify() == []
    return np.array([dataset.get_row_padded(row)[0] for row in range(len(dataset))])


@pytest.fixture
def cellxgene(write_h5ad, counts, tmp_path):
    """File a: counts in raw.X and log values in X; file b: counts in X; file c: counts in a layer."""
    adata = anndata.read_h5ad(write_h5ad(sp.csr_matrix(counts), "in/a.h5ad"))
    adata.X = adata.X.log1p()
    adata.write_h5ad(tmp_path / "in" / "a.h5ad")
    write_h5ad(sp.csr_matrix(2 * counts), "in/b.h5ad", raw=False)
    write_h5ad(np.log1p(counts), "in/c.h5ad", raw=False, layers={"counts": 3 * counts})
    return tmp_path / "in"


def test_counts_are_found_in_each_file(cellxgene, counts, tmp_path):
    assert convert(cellxgene, tmp_path / "out") == 0
    np.testing.assert_array_equal(dense_of(tmp_path / "out"), np.concatenate([counts, 2 * counts, 3 * counts]))


def test_counts_and_normalized_values_are_not_mixed(cellxgene, tmp_path, capsys):
    assert convert(cellxgene, tmp_path / "out", "--use-X-not-raw") == 2
    error = capsys.readouterr().err
    assert "1 files hold counts (" in error
    assert "b.h5ad) and 2 hold other values (" in error
    assert "a.h5ad, " in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    (cellxgene / "b.h5ad").unlink()
    assert convert(cellxgene, tmp_path / "out", "--use-X-not-raw") == 0


def test_a_file_without_counts_says_what_its_matrices_hold(write_h5ad, counts, tmp_path, capsys):
    write_h5ad(np.log1p(counts), "in/a.h5ad")
    assert convert(tmp_path / "in", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "no counts found in raw.X, X or the layer counts. raw.X: no counts: 0 to 5.70711, 6 not whole" in error
    assert "use_X_not_raw" not in error


def test_antibodies_stay_out_unless_asked_for(write_h5ad, counts, tmp_path):
    kinds = ["Gene Expression"] * 3 + ["Antibody Capture"] * 2
    write_h5ad(counts, "in/a.h5ad", var=pd.DataFrame({"feature_types": kinds}, index=list("abcde")), raw=False)
    assert convert(tmp_path / "in", tmp_path / "genes") == 0
    np.testing.assert_array_equal(dense_of(tmp_path / "genes"), counts[:, :3])
    assert convert(tmp_path / "in", tmp_path / "both", "--feature-type", "all") == 0
    assert dense_of(tmp_path / "both").shape == (4, 5)


def test_duplicates_are_one_sum_on_every_path(write_h5ad, tmp_path, make_archive):
    path = write_h5ad(sp.csr_matrix((1, 4), dtype=np.float32), "in/a.h5ad", raw=False)
    with h5py.File(path, "r+") as file:
        for name, values in {"data": [2, 7, 3, 1], "indices": [3, 1, 3, 0], "indptr": [0, 4]}.items():
            dtype = file[f"X/{name}"].dtype
            del file[f"X/{name}"]
            file[f"X/{name}"] = np.array(values, dtype)
    assert convert(tmp_path / "in", tmp_path / "out") == 0
    dataset = SingleCellMemMapDataset.open(tmp_path / "out")
    (values, columns), _, _ = dataset.get_row(0)
    assert (values.tolist(), columns.tolist()) == ([5, 7, 1], [3, 1, 0])
    assert dataset.get_row_padded(0)[0].tolist() == [1, 7, 0, 5]
    assert [dataset.get_row_column(0, column) for column in range(4)] == [1, 7, 0, 5]
    assert dataset.to_anndata().X.toarray().tolist() == [[1, 7, 0, 5]]


def test_cell_ids_are_unique_over_files(write_h5ad, counts, tmp_path, capsys):
    for name in ("s1/cells", "s2/cells"):
        write_h5ad(counts, f"in/{name}.h5ad", obs=pd.DataFrame(index=["AAC", "AAG", "AAT", "ACA"]), raw=False)
    assert convert(tmp_path / "in", tmp_path / "out") == 0
    ids = SingleCellMemMapDataset.open(tmp_path / "out").obs_frame().index
    assert ids.is_unique
    assert ids[[0, 4]].tolist() == ["s1__cells:AAC", "s2__cells:AAC"]
    obs = pd.DataFrame({"sample": ["p", "q", "q", "q"]}, index=["AAC", "AAC", "AAG", "AAG"])
    with pytest.warns(UserWarning, match="Observation names are not unique"):
        write_h5ad(counts, "samples/cells.h5ad", obs=obs, raw=False)
    assert convert(tmp_path / "samples", tmp_path / "named", "--sample-column", "sample") == 0
    ids = SingleCellMemMapDataset.open(tmp_path / "named").obs_frame().index
    assert ids.tolist() == ["p:AAC", "q:AAC", "q:AAG#2", "q:AAG#3"]
    assert convert(tmp_path / "in", tmp_path / "none", "--sample-column", "sample") == 2
    assert "--sample-column) 'sample': not every file has it" in capsys.readouterr().err
    (tmp_path / "one").mkdir()
    obs = pd.DataFrame(index=["AAC", "AAC", "AAT", "ACA"])
    with pytest.warns(UserWarning, match="Observation names are not unique"):
        write_h5ad(counts, "one/cells.h5ad", obs=obs, raw=False)
    assert convert(tmp_path / "one", tmp_path / "single") == 0
    ids = SingleCellMemMapDataset.open(tmp_path / "single").obs_frame().index
    assert ids.tolist() == ["AAC#0", "AAC#1", "AAT", "ACA"]


def test_one_differing_id_keeps_the_column(write_h5ad, tmp_path):
    names = [f"G{i}" for i in range(30)]
    ids = np.array([f"ENSG{i}" for i in range(30)], dtype=object)
    others = ids.copy()
    others[7] = "ENSG777"
    for name, column in (("a", ids), ("b", others)):
        write_h5ad(np.ones((1, 30)), f"in/{name}.h5ad", var=pd.DataFrame({"gene_ids": column}, index=names), raw=False)
    with pytest.warns(
        UserWarning, match=r"'gene_ids': .* differ about 1 of 30 shared genes; .*G7: 'ENSG7', 'ENSG777'"
    ):
        assert convert(tmp_path / "in", tmp_path / "out") == 0
    var = SingleCellMemMapDataset.open(tmp_path / "out").var_frame()
    assert var["gene_ids"].tolist() == ids.tolist()


def test_symbols_and_ids_are_not_joined_silently(write_h5ad, tmp_path, capsys):
    symbols, ids = [f"G{i}" for i in range(30)], [f"E{i}" for i in range(30)]
    for name, index in (("a", symbols), ("b", ids)):
        write_h5ad(np.ones((1, 30)), f"in/{name}.h5ad", var=pd.DataFrame({"gene_ids": ids}, index=index), raw=False)
    assert convert(tmp_path / "in", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "shares no gene with the others by the index of var: G0, G1, G2 against E0, E1, E2" in error
    assert "(--gene-key); all tables have the columns ['gene_ids']" in error
    assert convert(tmp_path / "in", tmp_path / "out", "--gene-key", "gene_ids") == 0
    assert dense_of(tmp_path / "out").tolist() == [[1] * 30] * 2


def test_one_file_and_zarr_stores(write_h5ad, counts, tmp_path):
    path = write_h5ad(sp.csr_matrix(counts), raw=False)
    anndata.read_h5ad(path).write_zarr(tmp_path / "in" / "a.zarr")
    assert convert(path, tmp_path / "one") == 0
    assert convert(tmp_path / "in", tmp_path / "two") == 0
    for name in ("one", "two"):
        np.testing.assert_array_equal(dense_of(tmp_path / name), counts)


def test_missing_values_of_newer_pandas(write_h5ad, counts, tmp_path):
    """Labels and gene ids of pandas' text dtype, some missing, through conversion, union and back to h5ad."""
    for name in ("a", "b"):
        obs = pd.DataFrame(
            {"label": pd.array(["T", pd.NA, "B", "B"], dtype="string")}, index=[f"{name}{i}" for i in range(4)]
        )
        var = pd.DataFrame(
            {"gene_ids": pd.array(["E1", pd.NA, "E3", "E4", "E5"], dtype="string")}, index=list("vwxyz")
        )
        var = var.iloc[::-1] if name == "b" else var
        anndata.settings.allow_write_nullable_strings = True
        try:
            write_h5ad(counts, f"in/{name}.h5ad", obs=obs, var=var, raw=False)
        finally:
            anndata.settings.allow_write_nullable_strings = False
    assert convert(tmp_path / "in", tmp_path / "out") == 0
    dataset = SingleCellMemMapDataset.open(tmp_path / "out")
    assert dataset.obs_frame()["label"].isna().tolist() == [False, True, False, False] * 2
    assert dataset.var_frame()["gene_ids"].isna().tolist() == [False, True, False, False, False]
    dataset.to_anndata().write_h5ad(tmp_path / "again.h5ad")
    again = anndata.read_h5ad(tmp_path / "again.h5ad")
    assert again.obs["label"].isna().sum() == 2
    assert again.obs["label"].iloc[0] == "T"


SCRIPT = """
print("started", flush=True)
from bionemo.scdl.io.single_cell_collection import SingleCellCollection
SingleCellCollection({out!r}).load_h5ad_multi({folder!r}, max_workers=2, use_processes=True)
"""


def test_a_script_without_main_guard_runs_once(write_h5ad, counts, tmp_path):
    write_h5ad(counts, "in/a.h5ad")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(out=str(tmp_path / "out"), folder=str(tmp_path / "in")))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr
    np.testing.assert_array_equal(dense_of(tmp_path / "out" / "a"), counts)
