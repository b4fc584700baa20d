# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json
import multiprocessing
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from torch.utils.data import DataLoader

from bionemo.scdl.io.single_cell_memmap_dataset import Mode, SingleCellMemMapDataset
from bionemo.scdl.util.torch_dataloader_utils import collate_sparse_matrix_batch


@pytest.fixture
def dataset(make_archive):
    return make_archive(
        obs=pd.DataFrame({"day": [1, 2, 3, 4]}, index=list("abcd")),
        var=pd.DataFrame({"feature_id": list("vwxyz")}, index=list("VWXYZ")),
    )


def test_sizes(dataset, counts):
    assert len(dataset) == dataset.number_of_rows() == 4
    assert dataset.shape() == (4, [5])
    assert dataset.number_of_variables() == [5]
    assert dataset.number_of_values() == 20
    assert dataset.number_nonzero_values() == 6
    assert dataset.sparsity() == 1 - 6 / 20
    assert dataset.metadata == {"num_rows": 4}
    assert dataset.dtypes["data.npy"] == "float32"
    assert dataset.dtypes["col_ptr.npy"] == dataset.dtypes["row_ptr.npy"] == "uint8"
    assert np.array(dataset.data).tolist() == [7, 2, 1, 300, 5, 9]
    assert dataset.mode == Mode.CREATE_APPEND
    assert SingleCellMemMapDataset(dataset.data_path).mode == Mode.READ_APPEND


def test_rows(dataset, counts):
    (values, columns), var, obs = dataset.get_row(2, True, None, True, ["day"])
    assert (values.tolist(), columns.tolist()) == ([1, 300], [0, 4])
    assert (values.dtype, columns.dtype) == (np.float32, np.uint8)
    assert [feature.tolist() for feature in var] == [list("vwxyz")]
    assert obs == [3]
    assert dataset.get_row(1)[1:] == (None, None)
    for row in range(4):
        dense, var, _ = dataset.get_row_padded(row, True, ["feature_id"])
        np.testing.assert_array_equal(dense, counts[row].astype(np.float64), strict=True)
        assert var[0].tolist() == list("vwxyz")


def test_single_columns(dataset):
    assert dataset.get_row_column(2, 4) == 300
    assert dataset.get_row_column(2, 3) == 0.0
    assert dataset.get_row_column(2, 3, impute_missing_zeros=False) is None
    assert dataset.get_row_column(2, None) is None


def test_tensors(dataset):
    assert dataset[0].tolist() == [[7, 2], [1, 3]]
    assert dataset[1].shape == (2, 0)
    assert dataset[-1].tolist() == [[5, 9], [0, 2]]
    for bad in (4, -5):
        with pytest.raises(IndexError, match=f"Row index {bad} is out of bounds for a dataset with 4 rows"):
            dataset[bad]
        with pytest.raises(IndexError, match=f"Row index {bad} is out of bounds"):
            dataset[[0, bad]]
    with pytest.raises(IndexError, match="Row numbers must be integers"):
        dataset[[0.5]]


@pytest.mark.parametrize(
    ("values", "num_genes", "row_dtype"),
    [
        ("float32", 200, "float32"),
        ("float32", 300, "float32"),
        ("float32", 70_000, "float64"),
        ("uint8", 300, "uint16"),
        ("float16", 300, "float32"),
    ],
)
def test_row_tensors_have_numpy_s_promoted_dtype(make_archive, values, num_genes, row_dtype):
    matrix = sp.csr_matrix((np.ones(1, np.float32), ([0], [num_genes - 1])), shape=(1, num_genes))
    dataset = make_archive(matrix, options={"data_dtype": values})
    assert str(dataset[0].dtype) == f"torch.{row_dtype}"
    assert dataset[0].tolist() == [[1], [num_genes - 1]]


def test_batches_slices_and_lists(dataset, counts):
    for rows in ([2, 0, 2], slice(None), slice(3, None, -2), np.array([-1, 1]), [1], []):
        batch = dataset[rows]
        dense = collate_sparse_matrix_batch(batch, num_columns=5).to_dense()
        np.testing.assert_array_equal(dense, counts[rows] if len(batch) else np.empty((0, 5)))
        assert [row.tolist() for row in batch] == [
            dataset[int(i)].tolist() for i in np.arange(4)[rows if len(batch) else []]
        ]


def test_data_loader_uses_the_batched_path(dataset, counts, monkeypatch):
    monkeypatch.setattr(type(dataset), "__getitem__", None)
    loader = DataLoader(dataset, batch_size=3, collate_fn=collate_sparse_matrix_batch)
    assert [batch.shape for batch in loader] == [(3, 5), (1, 3)]


@pytest.mark.parametrize("order", [1, -1, 7])  # in sequence, and two that have to be gathered
def test_writing_into_a_batch_reaches_neither_the_archive_nor_other_batches(make_archive, order):
    # Large enough for memory that is recycled from batch to batch.
    matrix = sp.random(400, 200, 0.5, "csr", np.float32, random_state=np.random.default_rng(0))
    dataset = make_archive(matrix)
    files = {path: path.read_bytes() for path in Path(dataset.data_path).iterdir() if path.is_file()}
    rows = [(row * order) % 400 for row in range(400)]

    def read():
        return collate_sparse_matrix_batch(dataset.__getitems__(rows), num_columns=200)

    kept = read()
    for _ in range(3):
        batch = read()
        batch.values().log1p_().neg_()
        batch.col_indices().zero_()
        np.testing.assert_array_equal(kept.to_dense(), matrix.toarray()[rows])
        np.testing.assert_array_equal(read().to_dense(), matrix.toarray()[rows])
    assert {path: path.read_bytes() for path in files} == files


def test_rows_are_read_only_unless_asked_for(dataset):
    for opened in (
        dataset,
        SingleCellMemMapDataset(dataset.data_path),
        SingleCellMemMapDataset.open(dataset.data_path),
    ):
        with pytest.raises(ValueError, match="read-only"):
            opened.get_row(0)[0][0][0] = 99
    writable = SingleCellMemMapDataset(dataset.data_path, mode=Mode.READ_APPEND)
    writable.get_row(0)[0][0][0] = 99
    assert writable.save()
    assert writable.verify() == []
    assert SingleCellMemMapDataset(dataset.data_path)[0].tolist() == [[99, 2], [1, 3]]


def test_a_read_only_archive_refuses_changes(dataset):
    opened = SingleCellMemMapDataset(dataset.data_path, mode="r")
    for change in (opened.save, lambda: opened.cast_data_to_dtype("float64"), lambda: opened.concat(dataset)):
        with pytest.raises(OSError, match="opened with mode 'r'"):
            change()


def test_pickling_keeps_the_path_only(dataset):
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 1500
    copy = pickle.loads(pickled)  # noqa: S301  # made above
    assert copy[2].tolist() == dataset[2].tolist()
    assert copy.shape() == dataset.shape()


def test_spawned_workers_read_the_same_files(dataset, counts):
    context = multiprocessing.get_context("spawn")
    loader = DataLoader(
        dataset, batch_size=4, num_workers=1, collate_fn=collate_sparse_matrix_batch, multiprocessing_context=context
    )
    (batch,) = list(loader)
    np.testing.assert_array_equal(batch.to_dense(), counts)


def test_created_empty_then_filled_and_saved(tmp_path):
    dataset = SingleCellMemMapDataset(tmp_path / "new", num_rows=2, num_elements=3)
    assert (len(dataset), dataset[1].shape, dataset.mode) == (0, (2, 0), Mode.CREATE_APPEND)
    assert dataset.dtypes["row_ptr.npy"] == "uint64"
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301  # made on this line
    assert copy[1].shape == (2, 0)
    dataset.save()
    reopened = SingleCellMemMapDataset(tmp_path / "new", mode="r+")
    assert (len(reopened), reopened[1].shape) == (0, (2, 0))
    reopened.data[:], reopened.col_index[:], reopened.row_index[:] = [5, 6, 7], [0, 2, 1], [0, 2, 3]
    reopened.var_features().append_features(2, {"gene": np.array(["a", "b", "c"])})
    reopened.save()
    assert SingleCellMemMapDataset(tmp_path / "new").get_row_padded(0)[0].tolist() == [5, 0, 6]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "An np.memmap path, an h5ad path, or the number of elements and rows is required"),
        (
            {"data_dtype": "int8"},
            ValueError,
            "Invalid data_dtype 'int8'. Must be one of: uint8, uint16, uint32, uint64",
        ),
        (
            {"load_neighbors": True, "neighbor_sampling_strategy": "best"},
            ValueError,
            "Unsupported neighbor_sampling_strategy: best",
        ),
        ({"num_rows": 0, "num_elements": 1}, ValueError, "num_rows is set to 0. It must be positive"),
        ({"num_rows": 1, "num_elements": 0}, ValueError, "n_elements is set to 0. It must be positive"),
        ({"h5ad_path": "nope.h5ad"}, FileNotFoundError, "Error: could not find h5ad path nope.h5ad"),
        ({"on_loss": "ignore", "num_rows": 1, "num_elements": 1}, ValueError, "on_loss is 'ignore'"),
    ],
)
def test_impossible_arguments(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        SingleCellMemMapDataset(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_existing_folders(dataset, tmp_path):
    with pytest.raises(FileExistsError, match="Output directory already exists"):
        SingleCellMemMapDataset(dataset.data_path, num_rows=1, num_elements=1, mode=Mode.CREATE_APPEND)
    with pytest.raises(FileExistsError, match="Invalid input; both an existing SCMMAP and an h5ad file were passed"):
        SingleCellMemMapDataset(dataset.data_path, h5ad_path=tmp_path / "archive.h5ad")
    with pytest.raises(FileNotFoundError, match=r"the specified data path to the mmap files .* does not exist"):
        dataset.load(tmp_path / "nope")
    with pytest.raises(NotImplementedError, match="Saving to separate path is not yet implemented"):
        dataset.save("elsewhere")


@pytest.mark.parametrize("name", ["data.npy", "row_ptr.npy", "col_ptr.npy", "metadata.json", "var_features"])
def test_a_missing_file_is_named(dataset, name):
    path = dataset.data_path / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=name):
        SingleCellMemMapDataset(dataset.data_path)


def test_a_row_count_that_does_not_fit_is_an_error(dataset):
    dataset.var_features().append_features(1, {"gene": np.array(["a"])})
    with pytest.raises(ValueError, match=r"in the feature index 5 does not correspond to .* row_index 4"):
        len(dataset)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "float16", "float32", "float64"])
def test_casting_agrees_everywhere(dataset, counts, dtype):
    dataset.cast_data_to_dtype(dtype)
    for opened in (dataset, SingleCellMemMapDataset(dataset.data_path)):
        assert opened.dtypes["data.npy"] == opened.data.dtype.name == dtype
        assert opened.header.get_array("DATA").dtype.numpy_dtype_string == dtype
        np.testing.assert_array_equal(collate_sparse_matrix_batch(opened[:]).to_dense(), counts)
        assert opened.verify() == []


def test_casting_refuses_to_lose_values(dataset):
    with pytest.raises(ValueError, match="1 values change, 1 infinite or out of range"):
        dataset.cast_data_to_dtype("uint8")
    assert SingleCellMemMapDataset(dataset.data_path).dtypes["data.npy"] == "float32"
    dataset.cast_data_to_dtype("uint8", allow_loss=True)
    assert dataset[0].tolist() == [[7, 2], [1, 3]]
    with pytest.raises(ValueError, match="Invalid data_dtype 'int3'"):
        dataset.cast_data_to_dtype("int3")


def test_changes_keep_files_that_others_put_beside(dataset):
    (dataset.data_path / "notes").mkdir()
    (dataset.data_path / "notes" / "mine.txt").write_text("kept")
    dataset.cast_data_to_dtype("float64")
    dataset.save()
    dataset.concat(dataset)
    assert (dataset.data_path / "notes" / "mine.txt").read_text() == "kept"
    assert dataset.verify() == []
    assert len(dataset) == 8


def test_frames_come_back(dataset):
    assert dataset.obs_frame().index.tolist() == list("abcd")
    assert dataset.var_frame().index.tolist() == list("VWXYZ")


def test_the_header_of_a_small_archive_has_the_documented_size(make_archive):
    matrix = sp.csr_matrix(np.array([[1, 0, 2], [3, 4, 0]], np.float32))
    dataset = make_archive(matrix)
    data = (dataset.data_path / "header.sch").read_bytes()
    assert len(data) == 419
    start = "53 43 44 4c 00 01 00 01 00 00 00 01 00 00 00 03 00 00 00 04 44 41 54 41 00 00 00 00 00 00 00 04"
    assert data[:32] == bytes.fromhex(start)
    assert [info.name for info in dataset.header.arrays] == ["DATA", "ROWPTR", "COLPTR"]
    assert json.loads((dataset.data_path / "metadata.json").read_text()) == {"num_rows": 2}


def test_release_0_1_3_finds_what_it_can_read(dataset):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for folder in ("var_features", "obs_features"):
        assert np.load(dataset.data_path / folder / "labels.npy", allow_pickle=False).dtype.kind == "U"
        parquets = list((dataset.data_path / folder).rglob("*.parquet"))
        assert [path.name for path in parquets] == ["dataframe_0.parquet"]
        assert not any(pa.types.is_dictionary(field.type) for field in pq.read_schema(parquets[0]))


def test_methods_take_the_keywords_of_release_0_1_3(dataset, tmp_path):
    dataset.load(stored_path=dataset.data_path)
    dataset.load_h5ad(anndata_path=tmp_path / "archive.h5ad")
    dataset.get_row(index=0, return_var_features=True, var_feature_names=None)
    dataset.get_row_column(index=0, column=1, impute_missing_zeros=True)
    dataset.concat(other_dataset=[], extend_copy_size=1, output_path=None, destroy_on_copy=False)
    dataset.save(output_path=None)
    assert len(dataset) == 4


def test_opening_is_silent(dataset):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SingleCellMemMapDataset(dataset.data_path)


def test_read_ahead_changes_nothing(dataset, counts):
    dataset.prefetch_rows(1, 3)
    dataset.prefetch_rows(0, 4)
    assert torch.equal(dataset[2], torch.tensor([[1.0, 300], [0, 4]]))
