# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import scipy.sparse as sp

from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.scdl.io.verification import describe_archive, verify_archive


FILES = [
    "data.npy",
    "col_ptr.npy",
    "row_ptr.npy",
    "header.sch",
    "metadata.json",
    "version.json",
    "var_features/dataframe_0.parquet",
    "var_features/frame_0.arrow",
    "var_features/labels.json",
    "obs_features/cumulative_sum_index.npy",
]


@pytest.fixture
def dataset(make_archive):
    graph = sp.csr_matrix(np.eye(4, k=1))
    return make_archive(obsp={"next_cell_ids": graph}, options={"load_neighbors": True})


def test_a_sound_archive_has_no_problem(dataset):
    assert verify_archive(dataset.data_path) == dataset.verify() == []


@pytest.mark.parametrize("name", [*FILES, "neighbor_indices.npy"])
def test_one_flipped_bit_is_found_in_every_file(dataset, name):
    path = dataset.data_path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert any(f"{path}: the content differs" in problem for problem in verify_archive(dataset.data_path))


@pytest.mark.parametrize("name", FILES)
def test_missing_and_longer_files_are_found(dataset, name):
    path = dataset.data_path / name
    data = path.read_bytes()
    path.write_bytes(data + b"\0")
    assert any(str(path) in problem for problem in verify_archive(dataset.data_path))
    path.unlink()
    assert any(f"{path}: missing" in problem for problem in verify_archive(dataset.data_path))


@pytest.mark.parametrize(
    ("name", "values", "dtype", "message"),
    [
        ("row_ptr.npy", [0, 4, 2, 4, 6], "uint8", "row_ptr.npy: the row pointers fall"),
        ("col_ptr.npy", [1, 3, 0, 5, 0, 2], "uint8", "a value in column 5 of rows 0 to 3, which have 5 genes"),
        ("neighbor_indices.npy", [1, 2, 4], "uint32", "names row 4 of 4"),
        ("neighbor_indptr.npy", [0, 2, 1, 3, 3], "uint64", "neighbor_indptr.npy: the row pointers fall"),
    ],
)
def test_without_checksums_the_contents_are_checked(dataset, name, values, dtype, message):
    np.array(values, dtype).tofile(dataset.data_path / name)
    (dataset.data_path / "checksums.json").unlink()
    assert any(message in problem for problem in verify_archive(dataset.data_path))


def test_stale_metadata_and_damaged_checksums(dataset):
    (dataset.data_path / "checksums.json").write_text("{")
    (dataset.data_path / "metadata.json").write_text(json.dumps({"num_rows": 3}))
    problems = verify_archive(dataset.data_path)
    assert "checksums.json: cannot be read" in problems[0]
    assert "num_rows is 3, there are 4 rows" in problems[1]


def test_what_cannot_be_opened_is_one_of_the_problems(dataset):
    (dataset.data_path / "header.sch").write_bytes(b"")
    assert any("damaged header" in problem for problem in verify_archive(dataset.data_path))


def test_description(dataset):
    about = describe_archive(SingleCellMemMapDataset(dataset.data_path))
    expected = {
        "rows": 4,
        "genes": 5,
        "stored_values": 6,
        "values_per_row": {"min": 0, "mean": 1.5, "max": 2},
        "sparsity": 0.7,
        "dtypes": {"values": "float32", "columns": "uint8", "row_pointers": "uint8"},
        "schema_version": "0.1.0",
        "var_columns": ["var_feature_id"],
        "obs_columns": ["obs_feature_id"],
        "has_neighbors": True,
        "has_cell_names": True,
        "has_checksums": True,
    }
    assert {name: about[name] for name in expected} == expected
    assert about["size_bytes"] == sum(path.stat().st_size for path in dataset.data_path.rglob("*") if path.is_file())
