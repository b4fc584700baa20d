# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


def dense_of(dataset):
    return np.array([dataset.get_row_padded(row)[0] for row in range(len(dataset))])


@pytest.fixture
def with_genes(make_archive):
    """Archives over named genes, optionally with further gene columns."""

    def make(name, genes, matrix, **columns):
        var = pd.DataFrame({"symbol": [gene.lower() for gene in genes]} | columns, index=list(genes))
        obs = pd.DataFrame({"from": [name] * len(matrix)}, index=[f"{name}{i}" for i in range(len(matrix))])
        return make_archive(sp.csr_matrix(np.array(matrix, np.float32)), name, var=var, obs=obs)

    return make


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_rows_are_appended_in_order(make_archive, counts, chunk):
    first, second = make_archive(name="a"), make_archive(sp.csr_matrix(counts[::-1] + 0), name="b")
    first.concat([second, first], extend_copy_size=chunk)
    np.testing.assert_array_equal(dense_of(first), np.concatenate([counts, counts[::-1], counts]))
    reopened = SingleCellMemMapDataset(first.data_path)
    assert (len(reopened), reopened.shape(), reopened.metadata) == (12, (12, [5]), {"num_rows": 12})
    assert reopened.obs_frame().index.tolist() == [f"cell{i}" for i in range(4)] * 3
    assert reopened.verify() == []
    assert len(second) == 4


def test_dtypes_of_the_result(make_archive, counts):
    narrow = make_archive(sp.csr_matrix(counts), "n", options={"data_dtype": "uint16"})
    other = make_archive(sp.csr_matrix(np.ones((2, 300), np.float32)), "o", options={"data_dtype": "uint32"})
    with pytest.warns(UserWarning, match="2 different gene tables"):
        narrow.concat(other)
    assert (narrow.dtypes["data.npy"], narrow.dtypes["col_ptr.npy"], narrow.dtypes["row_ptr.npy"]) == (
        "uint32",
        "uint16",
        "uint16",
    )
    assert narrow.shape() == (6, [5, 300])
    floats = make_archive(name="f")
    before = (floats.data_path / "data.npy").read_bytes()
    with pytest.raises(ValueError, match="Cannot merge datasets with a mix of int and float dtypes for data"):
        floats.concat(narrow)
    assert (floats.data_path / "data.npy").read_bytes() == before


def test_into_another_folder(make_archive, counts, tmp_path):
    first, second = make_archive(name="a"), make_archive(name="b")
    first.concat(second, output_path=tmp_path / "out")
    assert first.data_path == tmp_path / "out"
    assert len(first) == 8
    assert len(SingleCellMemMapDataset(tmp_path / "a")) == 4
    with pytest.raises(FileExistsError, match="Output directory already exists"):
        second.concat(first, output_path=tmp_path / "out")
    SingleCellMemMapDataset(tmp_path / "a").concat(second, output_path=tmp_path / "moved", destroy_on_copy=True)
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
    assert len(SingleCellMemMapDataset(tmp_path / "moved")) == 8


def test_nothing_and_nonsense(make_archive):
    dataset = make_archive()
    dataset.concat([])
    assert len(dataset) == 4
    with pytest.raises(
        ValueError,
        match=r"Expecting either a <class .*SingleCellMemMapDataset'> or a list thereof. Actually got: <class 'str'>",
    ):
        dataset.concat("x")
    with pytest.raises(ValueError, match="extend_copy_size is 0"):
        dataset.concat(dataset, extend_copy_size=0)
    with pytest.raises(ValueError, match="genes is 'all'; it must be one of 'ragged', 'union', 'intersection'"):
        dataset.concat(dataset, genes="all")


@pytest.mark.parametrize("chunk", [1, 100])
def test_union_of_genes(with_genes, chunk):
    first, second = with_genes("p", "ABC", [[1, 2, 3], [0, 0, 4]]), with_genes("q", "CDA", [[5, 6, 7]])
    first.concat(second, genes="union", extend_copy_size=chunk)
    assert first.var_frame().index.tolist() == list("ABCD")
    assert first.var_frame()["symbol"].tolist() == list("abcd")
    assert dense_of(first).tolist() == [[1, 2, 3, 0], [0, 0, 4, 0], [7, 0, 5, 6]]
    assert first.shape() == (3, [4])
    assert first.obs_frame()["from"].tolist() == ["p", "p", "q"]
    assert first.verify() == []


@pytest.mark.parametrize("chunk", [1, 100])
def test_intersection_of_genes(with_genes, chunk):
    first, second = with_genes("p", "ABC", [[1, 2, 3], [0, 9, 0]]), with_genes("q", "CDA", [[5, 6, 7], [0, 6, 0]])
    first.concat(second, genes="intersection", extend_copy_size=chunk)
    assert first.var_frame().index.tolist() == list("AC")
    assert dense_of(first).tolist() == [[1, 3], [0, 0], [7, 5], [0, 0]]
    assert first.number_nonzero_values() == 4


def test_gene_columns_that_disagree_are_left_out(with_genes):
    first = with_genes("p", "AB", [[1, 2]], mean=[0.1, 0.2])
    second = with_genes("q", "BA", [[1, 2]], mean=[0.3, 0.1])
    with pytest.warns(UserWarning, match=r"left out: \['mean'\]"):
        first.concat(second, genes="union")
    assert list(first.var_frame().columns) == ["symbol"]
    assert dense_of(first).tolist() == [[1, 2], [2, 1]]


def test_genes_can_be_matched_by_a_column(with_genes):
    first = with_genes("p", "AB", [[1, 2]], ens=["E1", "E2"])
    second = with_genes("q", "XY", [[3, 4]], ens=["E2", "E3"])
    with pytest.warns(UserWarning, match="symbol"):
        first.concat(second, genes="union", gene_key="ens")
    assert first.var_frame().index.tolist() == ["E1", "E2", "E3"]
    assert dense_of(first).tolist() == [[1, 2, 0], [0, 3, 4]]
    with pytest.raises(ValueError, match=r"share the columns \['ens'\], not 'nope'"):
        second.concat(first, genes="union", gene_key="nope")


def test_gene_names_that_occur_twice_cannot_be_matched(with_genes):
    with pytest.warns(UserWarning, match="not unique"):
        first = with_genes("p", "AA", [[1, 2]])
    with pytest.raises(ValueError, match="names 'A' twice"):
        first.concat(with_genes("q", "AB", [[1, 2]]), genes="union")


def test_equal_tables_are_not_touched(with_genes):
    first = with_genes("p", "AB", [[1, 2]], mean=[0.5, np.nan])
    first.concat(with_genes("q", "AB", [[0, 2]], mean=[0.5, np.nan]), genes="union")
    assert list(first.var_frame().columns) == ["symbol", "mean"]
    assert first.shape() == (2, [2])


def test_neighbors_are_appended_with_shifted_numbers(make_archive, counts):
    graph = sp.csr_matrix(np.array([[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 2], [0, 0, 0, 0]], np.float32))
    options = {"load_neighbors": True}
    first = make_archive(name="a", obsp={"next_cell_ids": graph}, options=options)
    plain = make_archive(name="b")
    second = make_archive(name="c", obsp={"next_cell_ids": graph}, options=options)
    first.concat([plain, second])
    assert [first.get_neighbor_indices_for_cell(i).tolist() for i in (0, 2, 4, 8, 10)] == [
        [1],
        [0, 3],
        [],
        [9],
        [8, 11],
    ]
    assert first.get_neighbor_weights_for_cell(10).tolist() == [1, 2]
    assert first.header.get_array("NEIGHBOR_INDICES").length == 6
    assert first.verify() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory from /proc")
@pytest.mark.parametrize(
    "change", ["dataset.concat(dataset, extend_copy_size=2**18)", "dataset.cast_data_to_dtype('float64')"]
)
def test_the_memory_of_a_change_does_not_grow_with_the_archive(tmp_path, change):
    dataset = SingleCellMemMapDataset(tmp_path / "a", num_rows=1000, num_elements=12_000_000)
    dataset.row_index[:] = np.arange(1001) * 12_000
    dataset.data[:] = 1
    dataset.var_features().append_features(1000, {"gene": np.arange(5)})
    dataset.save()
    code = (
        "import re, sys, scipy.sparse, pyarrow.parquet, bionemo.scdl.io.editing, bionemo.scdl.io.merge\n"
        "from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset\n"
        "peak_kb = lambda: int(re.search('VmHWM:[^0-9]*([0-9]+)', open('/proc/self/status').read())[1])\n"
        "dataset = SingleCellMemMapDataset(sys.argv[1])\n"
        "bionemo.scdl.io.editing._CHUNK = 2**18\n"
        "before = peak_kb()\n"
        f"{change}\n"
        "print(peak_kb() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 70_000  # the arrays take 96,000 kB
