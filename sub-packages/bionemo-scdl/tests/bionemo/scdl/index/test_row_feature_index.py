# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pandas as pd
import pytest

from bionemo.scdl.index.row_feature_index import (
    ObservedFeatureIndex,
    RowFeatureIndex,
    VariableFeatureIndex,
    are_dicts_equal,
)


@pytest.fixture
def genes():
    index = VariableFeatureIndex()
    index.append_features(2, {"name": np.array(["a", "b"]), "length": np.array([10, 20])}, "first.h5ad")
    index.append_features(3, {"name": np.array(["c", "d", "e"]), "length": np.array([1, 2, 3])}, "second.h5ad")
    return index


@pytest.fixture
def cells():
    index = ObservedFeatureIndex()
    index.append_features({"type": np.array(["x", "y", "z"]), "n": np.array([1, 2, 3])}, "first.h5ad")
    index.append_features({"day": np.array([7, 8])}, "second.h5ad")
    return index


def test_variable_features_belong_to_ranges_of_rows(genes):
    assert len(genes) == 2
    assert genes.number_of_rows() == 5
    assert genes.column_dims() == [2, 3]
    assert genes.number_of_values() == [4, 9]
    assert [genes.number_vars_at_row(row) for row in range(5)] == [2, 2, 3, 3, 3]
    features, label = genes.lookup(1)
    assert [feature.tolist() for feature in features] == [["a", "b"], [10, 20]]
    assert label == "first.h5ad"
    assert genes.lookup(2, ["length"])[0][0].tolist() == [1, 2, 3]
    assert genes._cumulative_sum_index.tolist() == [-1, 2, 5]
    assert genes._num_entries_per_row == [2, 3]
    assert genes._labels == ["first.h5ad", "second.h5ad"]


def test_equal_features_extend_the_last_block():
    index = VariableFeatureIndex()
    for _ in range(2):
        index.append_features(2, {"score": np.array([1.0, np.nan]), "name": np.array(["a", None], object)}, "x")
    index.append_features(0, {"other": np.array([1])})
    assert (len(index), index.number_of_rows()) == (1, 4)
    index.append_features(1, {"score": np.array([1.0, 2.0]), "name": np.array(["a", None], object)})
    assert (len(index), index.number_of_rows()) == (2, 5)


def test_observed_features_are_one_scalar_per_row(cells):
    assert cells.number_of_rows() == 5
    assert cells.column_dims() == [2, 1]
    assert cells.number_of_values() == [6, 2]
    assert cells.lookup(1) == (["y", 2], "first.h5ad")
    assert cells.lookup(1, ["n"]) == ([2], "first.h5ad")
    assert cells[-1] == cells[np.int64(4)] == ([8], "second.h5ad")


def test_observed_features_of_the_same_names_are_one_block(cells):
    cells.append_features({"day": np.array([9])}, "third.h5ad")
    cells.append_features({"day": np.array([])})
    assert (len(cells), cells.number_of_rows(), cells._labels[-1]) == (2, 6, "second.h5ad")


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (slice(1, 4), [({"type": ["y", "z"], "n": [2, 3]}, "first.h5ad"), ({"day": [7]}, "second.h5ad")]),
        (slice(-1, None), [({"day": [8]}, "second.h5ad")]),
        (slice(0, 5, 2), [({"type": ["x", "z"], "n": [1, 3]}, "first.h5ad"), ({"day": [8]}, "second.h5ad")]),
        (slice(4, 2), []),
    ],
)
def test_slices_give_one_dict_per_block(cells, part, expected):
    features, labels = cells[part]
    assert [{name: values.tolist() for name, values in block.items()} for block in features] == [
        b for b, _ in expected
    ]
    assert labels == [label for _, label in expected]


def test_concat_appends_in_place_and_can_append_itself(genes, cells):
    assert genes.concat(genes) is genes
    assert genes.number_of_rows() == 10
    assert genes.column_dims() == [2, 3, 2, 3]
    assert cells.concat(cells).number_of_rows() == 10
    with pytest.raises(TypeError, match=r"Error: trying to concatenate something that's not a VariableFeatureIndex."):
        genes.concat(cells)


def test_errors(genes, cells):
    for call, error, message in [
        (lambda: genes.lookup(-1), IndexError, "Row index -1 is not valid. It must be non-negative."),
        (lambda: genes.lookup(5), IndexError, r"Row index 5 is larger than number of rows in FeatureIndex \(5\)."),
        (lambda: VariableFeatureIndex().lookup(0), IndexError, "There are no features to lookup."),
        (lambda: genes.lookup(0, ["zz"]), ValueError, "Provided feature column zz in select_features not present"),
        (lambda: genes.append_features(-1, {}), ValueError, "n_obs is -1"),
        (
            lambda: genes.append_features(1, {"a": np.array([1]), "b": np.array([1, 2])}),
            ValueError,
            "All feature arrays must have the same length",
        ),
        (
            lambda: genes.append_features(1, pd.DataFrame({"a": [1]})),
            TypeError,
            "VariableFeatureIndex.append_features expects a dict of arrays",
        ),
        (lambda: cells["x"], TypeError, "Index must be int or slice"),
        (lambda: cells[5], IndexError, "larger than number of rows"),
    ]:
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(TypeError, match="abstract"):
        RowFeatureIndex()


def test_an_empty_index():
    index = VariableFeatureIndex()
    assert (len(index), index.number_of_rows(), index.column_dims(), index.number_of_values()) == (0, 0, [], [0])


@pytest.mark.parametrize("kind", [VariableFeatureIndex, ObservedFeatureIndex])
def test_save_and_load(kind, genes, cells, tmp_path):
    index = genes if kind is VariableFeatureIndex else cells
    index.save(tmp_path / "index")
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == [
        "cumulative_sum_index.npy",
        "dataframe_0.parquet",
        "dataframe_1.parquet",
        "labels.json",
        "version.npy",
    ]
    read = kind.load(tmp_path / "index")
    assert read.version() == index.version()
    assert read._labels == index._labels
    assert read._cumulative_sum_index.tolist() == index._cumulative_sum_index.tolist()
    for mine, theirs in zip(index._feature_arr, read._feature_arr, strict=True):
        assert are_dicts_equal(mine, theirs)


def test_ten_blocks_keep_their_order_and_stale_files_disappear(tmp_path):
    index = VariableFeatureIndex()
    index.append_features(1, {"n": np.array([0])})
    index.save(tmp_path / "index")
    for block in range(1, 12):
        index.append_features(1, {"n": np.array([block])})
    index.save(tmp_path / "index")
    assert sorted(p.name for p in (tmp_path / "index").glob("*.parquet"))[:2] == [
        "dataframe_00.parquet",
        "dataframe_01.parquet",
    ]
    read = VariableFeatureIndex.load(tmp_path / "index")
    assert [int(read.lookup(row)[0][0][0]) for row in range(12)] == list(range(12))


def test_columns_without_an_arrow_type_become_text(tmp_path):
    index = ObservedFeatureIndex()
    index.append_features({"mixed": np.array([1, "two", None], dtype=object)})
    index.save(tmp_path / "index")
    assert ObservedFeatureIndex.load(tmp_path / "index")._feature_arr[0]["mixed"].tolist() == ["1", "two", None]


@pytest.mark.parametrize("damage", ["cumulative_sum_index.npy", "dataframe_1.parquet"])
def test_damaged_or_missing_files_are_refused_by_name(cells, tmp_path, damage):
    cells.save(tmp_path / "index")
    path = tmp_path / "index" / damage
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match=damage):
        ObservedFeatureIndex.load(tmp_path / "index")
    path.unlink()
    with pytest.raises((ValueError, FileNotFoundError), match="index"):
        ObservedFeatureIndex.load(tmp_path / "index")


def test_dicts_are_equal_by_keys_and_values():
    assert are_dicts_equal({"a": np.array([1, np.nan])}, {"a": np.array([1, np.nan])})
    assert not are_dicts_equal({"a": np.array([1])}, {"b": np.array([1])})
    assert not are_dicts_equal({"a": np.array([1])}, {"a": np.array([2])})
    assert not are_dicts_equal({"a": np.array([1])}, {"a": np.array([1, 1])})
