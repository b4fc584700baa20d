# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json
import os

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bionemo.scdl.io import single_cell_collection
from bionemo.scdl.io.single_cell_collection import FileNames, SingleCellCollection
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


@pytest.fixture
def files(write_h5ad, counts, tmp_path):
    """Files b and sub/a with the same genes."""
    write_h5ad(sp.csr_matrix(counts), "in/b.h5ad")
    write_h5ad(sp.csr_matrix(counts[:2]), "in/sub/a.h5ad")
    return tmp_path / "in"


def dense_of(dataset):
    return np.array([dataset.get_row_padded(row)[0] for row in range(len(dataset))])


@pytest.mark.parametrize("use_processes", [False, True])
def test_a_folder_of_files(files, tmp_path, counts, use_processes):
    collection = SingleCellCollection(tmp_path / "out")
    collection.load_h5ad_multi(files, max_workers=2, use_processes=use_processes)
    assert list(collection.fname_to_mmap) == [tmp_path / "out" / "b", tmp_path / "out" / "a"]
    assert collection.shape() == (6, [5])
    assert collection.number_of_rows() == 6
    assert collection.number_of_values() == 30
    assert collection.number_of_variables() == [5]
    assert collection.number_nonzero_values() == 8
    assert collection.sparsity() == pytest.approx(1 - 8 / 30)
    assert json.loads((tmp_path / "out" / FileNames.VERSION.value).read_text()) == collection.version()
    collection.flatten(tmp_path / "flat")
    flat = SingleCellMemMapDataset(tmp_path / "flat")
    np.testing.assert_array_equal(dense_of(flat), np.concatenate([counts, counts[:2]]))
    assert flat.obs_features()._labels == [str(files / "b.h5ad")]
    with pytest.raises(FileExistsError, match="Output directory already exists"):
        collection.flatten(tmp_path / "flat")


def test_single_files_and_removal(files, tmp_path):
    for name in ("one", "two"):
        collection = SingleCellCollection(tmp_path / name)
        collection.load_h5ad(files / "b.h5ad")
        if name == "two":
            collection.load_h5ad(files / "sub" / "a.h5ad")
        collection.flatten(tmp_path / f"{name}-flat", destroy_on_copy=True)
        assert not (tmp_path / name).exists()
        flat = SingleCellMemMapDataset(tmp_path / f"{name}-flat")
        assert len(flat) == (4 if name == "one" else 6)
        assert flat.verify() == []


def test_an_empty_collection(tmp_path):
    collection = SingleCellCollection(tmp_path / "out")
    assert (collection.shape(), collection.number_of_values(), collection.number_nonzero_values()) == ((0, [0]), 0, 0)
    assert collection.sparsity() == 0.0
    with pytest.raises(ValueError, match="the collection is empty"):
        collection.flatten(tmp_path / "flat")
    with pytest.raises(FileNotFoundError, match=r"There a no h5ad files in .*out\."):
        collection.load_h5ad_multi(tmp_path / "out")


def test_a_file_that_fails_is_named_and_the_others_stay(files, tmp_path):
    (files / "z.h5ad").write_text("nonsense")
    collection = SingleCellCollection(tmp_path / "out")
    with pytest.raises(RuntimeError, match=r"Error in processing file .*z\.h5ad: .*cannot be read") as caught:
        collection.load_h5ad_multi(files, max_workers=1)
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.exit_code == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b", "version.json"]


def test_resuming_converts_only_what_is_missing_or_changed(files, tmp_path, monkeypatch):
    SingleCellCollection(tmp_path / "out").load_h5ad_multi(files)
    converted = []
    original = single_cell_collection.convert_h5ad
    monkeypatch.setattr(
        single_cell_collection,
        "convert_h5ad",
        lambda path, *args, **options: converted.append(path.name) or original(path, *args, **options),
    )
    with pytest.raises(FileExistsError, match="pass resume=True"):
        SingleCellCollection(tmp_path / "out").load_h5ad_multi(files)
    os.utime(files / "b.h5ad", (1, 1))
    collection = SingleCellCollection(tmp_path / "out")
    collection.load_h5ad_multi(files, resume=True)
    assert converted == ["b.h5ad"]
    assert collection.number_of_rows() == 6
    collection.load_h5ad_multi(files, resume=True, data_dtype="float64")
    assert sorted(converted[1:]) == ["a.h5ad", "b.h5ad"]
    assert {dataset.dtypes["data.npy"] for dataset in collection.fname_to_mmap.values()} == {"float64"}


def test_files_of_one_name_get_archives_of_their_own(write_h5ad, counts, tmp_path):
    for folder in ("x", "y"):
        write_h5ad(sp.csr_matrix(counts), f"in/{folder}/cells.h5ad")
    write_h5ad(sp.csr_matrix(counts), "in/x__cells.h5ad")
    collection = SingleCellCollection(tmp_path / "out")
    collection.load_h5ad_multi(tmp_path / "in")
    assert sorted(path.name for path in collection.fname_to_mmap) == ["x__cells", "x__cells__2", "y__cells"]
    assert collection.number_of_rows() == 12


def test_different_genes(write_h5ad, tmp_path):
    for name, genes, values in (("a", "AB", [1, 2]), ("b", "BC", [3, 4])):
        write_h5ad(
            sp.csr_matrix(np.array([values], np.float32)), f"in/{name}.h5ad", var=pd.DataFrame(index=list(genes))
        )
    collection = SingleCellCollection(tmp_path / "out")
    collection.load_h5ad_multi(tmp_path / "in")
    assert collection.shape() == (2, [2, 2])
    collection.flatten(tmp_path / "union", genes="union")
    assert dense_of(SingleCellMemMapDataset(tmp_path / "union")).tolist() == [[1, 2, 0], [0, 3, 4]]
    with pytest.warns(UserWarning, match="2 different gene tables"):
        collection.flatten(tmp_path / "ragged")
    assert SingleCellMemMapDataset(tmp_path / "ragged").shape() == (2, [2, 2])
