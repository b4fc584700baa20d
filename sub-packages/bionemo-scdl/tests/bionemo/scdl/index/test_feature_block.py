# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pandas as pd
import pytest

from bionemo.scdl.index.feature_block import FeatureBlock, arrays_equal


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "kind": pd.Categorical(["b", None, "a"], categories=["b", "a", "unused"], ordered=True),
            "stage": pd.Categorical([2, 1, 2]),
            "count": pd.array([1, None, 2**53 + 1], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "text": ["x", None, "z"],
            "score": [0.5, np.nan, 1.5],
            "when": pd.to_datetime(["2020-01-01", "2021-01-01", "2022-01-01"]),
        },
        index=pd.Index(["c1", "c2", "c3"], name="barcode"),
    )


def test_a_frame_comes_back_with_index_categories_and_nullable_types(frame, tmp_path):
    block = FeatureBlock.from_frame(frame, "unused")
    block.write(tmp_path / "a.parquet", tmp_path / "a.arrow")
    read = FeatureBlock.read(tmp_path / "a.parquet", tmp_path / "a.arrow")
    pd.testing.assert_frame_equal(read.to_frame(), frame, check_column_type=False)
    assert read["count"].tolist() == [1, None, 2**53 + 1]
    assert read["kind"].tolist() == ["b", None, "a"]


def test_parquet_holds_plain_types_only(frame, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    FeatureBlock.from_frame(frame, "unused").write(tmp_path / "a.parquet", tmp_path / "a.arrow")
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert not any(pa.types.is_dictionary(field.type) for field in schema)
    assert schema.names == list(frame.columns)


def test_a_frame_without_columns_contributes_its_index():
    block = FeatureBlock.from_frame(pd.DataFrame(index=["g1", "g2"]), "gene")
    assert {name: values.tolist() for name, values in block.items()} == {"gene": ["g1", "g2"]}


def test_joining_frames_joins_names_and_categories(frame):
    other = frame.copy()
    other["kind"] = pd.Categorical(["new", "a", "a"])
    other.index = ["d1", "d2", "d3"]
    joined = FeatureBlock.from_frame(frame, "x").joined(FeatureBlock.from_frame(other, "x")).to_frame()
    assert joined.index.tolist() == ["c1", "c2", "c3", "d1", "d2", "d3"]
    assert joined["kind"].cat.categories.tolist() == ["b", "a", "unused", "new"]
    assert not joined["kind"].cat.ordered
    assert joined["count"].dtype == "Int64"


def test_tables_with_other_gene_names_are_different():
    def table(index, **columns):
        return FeatureBlock.from_frame(pd.DataFrame(columns or {"kind": ["p", "p"]}, index=index), "x")

    assert table(["g1", "g2"]).same_table(table(["g1", "g2"]))
    assert not table(["g1", "g2"]).same_table(table(["g2", "g1"]))
    assert not table(["g1", "g2"]).same_table(table(["g1", "g2"], kind=["p", "q"]))


def test_columns_of_mixed_types_and_duplicate_names_are_refused():
    with pytest.raises(ValueError, match="Column 'm' mixes types"):
        FeatureBlock.from_frame(pd.DataFrame({"m": [1, "a"]}), "x")
    with pytest.raises(ValueError, match="Column 'm' occurs twice"):
        FeatureBlock.from_frame(pd.DataFrame([[1, 2]], columns=["m", "m"]), "x")


def test_equality_of_columns():
    assert arrays_equal(np.array([1.0, np.nan]), np.array([1.0, np.nan]))
    assert arrays_equal(np.array(["a", None], object), np.array(["a", None], object))
    assert not arrays_equal(np.array(["a", None], object), np.array(["a", "b"], object))
    assert not arrays_equal(np.array([1, 2]), np.array([1]))
