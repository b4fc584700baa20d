# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bionemo.scdl.io import conversion
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


def dense_of(dataset):
    return np.array([dataset.get_row_padded(row)[0] for row in range(len(dataset))])


@pytest.fixture(params=[2**21, 3], ids=["one block", "many blocks"])
def block_elements(request, monkeypatch):
    """Conversions in one block and in blocks of three values."""
    monkeypatch.setattr(conversion, "_block_elements", lambda options: request.param)


@pytest.mark.parametrize(
    "layout", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csc_array, lambda matrix: matrix], ids=range(5)
)
@pytest.mark.usefixtures("block_elements")
def test_every_layout(make_archive, counts, layout):
    dataset = make_archive(layout(counts))
    np.testing.assert_array_equal(dense_of(dataset), counts)
    assert dataset.verify() == []
    assert {path.name for path in dataset.data_path.iterdir()} == {
        "checksums.json",
        "col_ptr.npy",
        "data.npy",
        "header.sch",
        "metadata.json",
        "obs_features",
        "row_ptr.npy",
        "source.json",
        "var_features",
        "version.json",
    }


@pytest.mark.usefixtures("block_elements")
def test_random_matrices_of_every_layout_are_the_same(make_archive):
    matrix = sp.random(60, 40, 0.2, "csr", np.float32, random_state=np.random.default_rng(3))
    arrays = []
    for number, layout in enumerate((matrix, matrix.tocsc(), matrix.toarray())):
        dataset = make_archive(layout, f"a{number}")
        arrays.append([np.array(dataset.data), np.array(dataset.col_index), np.array(dataset.row_index)])
    for other in arrays[1:]:
        for mine, theirs in zip(arrays[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs, strict=True)


def test_stored_order_duplicates_and_zeros_are_kept(write_h5ad, tmp_path):
    path = write_h5ad(sp.csr_matrix((1, 8), dtype=np.float32))
    with h5py.File(path, "r+") as file:
        group = file["raw/X"]
        for name, values in {"data": [5, 1, 5, 2, 0], "indices": [7, 3, 3, 0, 1], "indptr": [0, 5]}.items():
            dtype = group[name].dtype
            del group[name]
            group[name] = np.array(values, dtype)
    values, columns = SingleCellMemMapDataset(tmp_path / "a", h5ad_path=path).get_row(0)[0]
    assert values.tolist() == [5, 1, 5, 2, 0]
    assert columns.tolist() == [7, 3, 3, 0, 1]


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (1, 1), (2, 300)])
def test_odd_shapes(make_archive, shape):
    dataset = make_archive(sp.csr_matrix(shape, dtype=np.float32))
    assert len(dataset) == shape[0]
    assert dataset[:].row_ptr.tolist() == [0] * (shape[0] + 1)
    assert SingleCellMemMapDataset(dataset.data_path).number_nonzero_values() == 0
    assert dataset.verify() == []


def test_raw_x_and_layers(write_h5ad, tmp_path, counts):
    path = write_h5ad(sp.csr_matrix(counts), layers={"twice": sp.csr_matrix(2 * counts)}, raw=False)
    make = lambda name, **options: SingleCellMemMapDataset(tmp_path / name, h5ad_path=path, **options)  # noqa: E731  # short
    with pytest.raises(ValueError, match="This file does not have raw count data; set use_X_not_raw=True"):
        make("raw")
    np.testing.assert_array_equal(dense_of(make("x", use_X_not_raw=True)), counts)
    np.testing.assert_array_equal(dense_of(make("layer", layer="twice")), 2 * counts)
    with pytest.raises(ValueError, match=r"no layer 'nope', found \['twice'\]"):
        make("nope", layer="nope")
    assert not (tmp_path / "raw").exists()
    with h5py.File(path, "r+") as file:
        del file["X"]
    with pytest.raises(ValueError, match="This file does not have count data; set use_X_not_raw=False"):
        make("x2", use_X_not_raw=True)


def test_features_come_from_the_frames(make_archive):
    obs = pd.DataFrame({"kind": pd.Categorical(["p", "q", "p", None])}, index=list("abcd"))
    dataset = make_archive(obs=obs, options={"var_feature_index_name": "gene", "obs_feature_index_name": "cell"})
    assert dataset.get_row(0, True, ["gene"], True)[1][0].tolist() == [f"gene{i}" for i in range(5)]
    assert [dataset.get_row(row, False, None, True)[2] for row in range(4)] == [["p"], ["q"], ["p"], [None]]
    pd.testing.assert_frame_equal(dataset.obs_frame(), obs, check_index_type=False)
    assert dataset.obs_features()._labels == [str(dataset.data_path.with_suffix(".h5ad"))]


@pytest.mark.parametrize("cutoff", [10_000, 0])
def test_losses_are_reported_once_or_by_rows(make_archive, cutoff):
    matrix = sp.csr_matrix(np.array([[991], [-1], [3], [0.5]], np.float32))
    options = {"data_dtype": "uint8", "paginated_load_cutoff": cutoff, "load_block_row_size": 2}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make_archive(matrix, options=options)
    messages = [str(w.message) for w in caught if "Downcasted" in str(w.message)]
    starts = [message.split(":")[0] for message in messages]
    assert starts == (["Full Dataset"] if cutoff else ["Rows 0 to 1 of the dataset", "Rows 2 to 3 of the dataset"])
    assert "Downcasted data values for 'data.npy' are not close to original values. Max abs diff: " in messages[0]
    assert "1 negative" in messages[0]


def test_losses_can_be_errors(make_archive, tmp_path):
    with pytest.raises(ValueError, match="1 values change, 1 NaN"):
        make_archive(sp.csr_matrix(np.array([[np.nan, 1]])), options={"data_dtype": "uint8", "on_loss": "error"})
    assert not (tmp_path / "archive").exists()
    assert (
        len(make_archive(sp.csr_matrix(np.array([[7, 1]])), options={"data_dtype": "uint8", "on_loss": "error"})) == 1
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda x: x["indices"].__setitem__(0, 99), "an index of 99 in a matrix of 5"),
        (lambda x: x["indptr"].__setitem__(1, 77), "the row pointers do not fit the values"),
        (lambda x: x.__delitem__("indices"), "has no indices"),
        (lambda x: x.attrs.__setitem__("encoding-type", "strange"), "is stored as 'strange'"),
        (lambda x: x.attrs.__setitem__("shape", (9, 5)), "4 cells|5 pointers"),
    ],
)
def test_damaged_matrices_are_refused(write_h5ad, tmp_path, counts, damage, message):
    path = write_h5ad(sp.csr_matrix(counts))
    with h5py.File(path, "r+") as file:
        damage(file["raw/X"])
    with pytest.raises(ValueError, match=message) as caught:
        SingleCellMemMapDataset(tmp_path / "a", h5ad_path=path)
    assert "raw/X" in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_files_that_are_no_h5ad(tmp_path):
    (tmp_path / "text.h5ad").write_text("hello")
    with pytest.raises(ValueError, match=r"text.h5ad: cannot be read as an h5ad file"):
        SingleCellMemMapDataset(tmp_path / "a", h5ad_path=tmp_path / "text.h5ad")
    with h5py.File(tmp_path / "empty.h5ad", "w") as file:
        file["raw/X"] = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"empty.h5ad: has no var"):
        SingleCellMemMapDataset(tmp_path / "a", h5ad_path=tmp_path / "empty.h5ad")


def test_blocks_shrink_with_the_memory_bound():
    options = [conversion.ConversionOptions(max_memory_mb=size) for size in (1, 100_000)]
    small, large = map(conversion._block_elements, options)
    assert (small, large) == (conversion._MIN_BLOCK_ELEMENTS, conversion._MAX_BLOCK_ELEMENTS)
    with pytest.raises(ValueError, match="max_memory_mb is 0"):
        conversion.ConversionOptions(max_memory_mb=0)


def test_an_archive_knows_its_source(make_archive, tmp_path):
    dataset = make_archive(options={"data_dtype": "float64"})
    path, options = tmp_path / "archive.h5ad", conversion.ConversionOptions(data_dtype="float64", max_memory_mb=7)
    assert conversion.is_converted(path, dataset.data_path, options)
    assert not conversion.is_converted(path, dataset.data_path, conversion.ConversionOptions())
    path.touch()
    assert not conversion.is_converted(path, dataset.data_path, options)
