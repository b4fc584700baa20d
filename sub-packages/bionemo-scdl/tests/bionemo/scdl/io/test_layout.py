# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Archives of earlier releases, and damaged ones; each is written here file by file as those releases left it."""

import json
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest

from bionemo.core.errors import FormatError
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.scdl.schema.header import ArrayDType, ArrayInfo, FeatureIndexInfo, SCDLHeader


VALUES, COLUMNS, POINTERS = [7, 2, 1, 300, 5, 9], [1, 3, 0, 4, 0, 2], [0, 2, 2, 4, 6]


@pytest.fixture
def old_archive(tmp_path):
    """Write an archive as releases before 0.1.3 did."""

    def write(
        data="float32", cols="uint32", rows="uint64", *, header=False, values=VALUES, pointers=POINTERS, labels=None
    ):
        folder = tmp_path / "old"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "features").mkdir(parents=True)
        for name, items, dtype in (("data", values, data), ("col_ptr", COLUMNS, cols), ("row_ptr", pointers, rows)):
            np.array(items, dtype).tofile(folder / f"{name}.npy")
        frame = pd.DataFrame({"feature_id": list("vwxyz")})
        frame.to_parquet(folder / "features" / "dataframe_0.parquet")
        np.save(folder / "features" / "cumulative_sum_index.npy", np.array([-1, len(pointers) - 1]))
        np.save(folder / "features" / "labels.npy", np.array(labels or ["x.h5ad"]), allow_pickle=True)
        np.save(folder / "features" / "version.npy", np.array("2.4"))
        (folder / "metadata.json").write_text(json.dumps({"num_rows": 1}))
        (folder / "version.json").write_text('"2.4"')
        if header:
            codes = {
                n: ArrayDType.from_numpy_dtype(np.dtype(d).name.replace("int", "uint").replace("uuint", "uint"))
                for n, d in (("DATA", data), ("ROWPTR", rows), ("COLPTR", cols))
            }
            arrays = [
                ArrayInfo(name, n, codes[name])
                for name, n in (("DATA", len(values)), ("ROWPTR", len(pointers)), ("COLPTR", 6))
            ]
            index = FeatureIndexInfo("features", 4, ArrayDType.STRING_ARRAY, ["features/dataframe_0.parquet"])
            SCDLHeader(arrays=arrays, feature_indices=[index]).save(folder / "header.sch")
        return folder

    return write


def check_contents(dataset, values=VALUES):
    assert len(dataset) == 4
    assert np.array(dataset.data).tolist() == values
    assert np.array(dataset.col_index).tolist() == COLUMNS
    assert dataset.get_row(0, True, ["feature_id"])[1][0].tolist() == list("vwxyz")
    assert dataset.obs_features().number_of_rows() == 0


@pytest.mark.parametrize("rows", ["uint64", "uint32"])
@pytest.mark.parametrize("cols", ["uint32", "int32", "int64"])
@pytest.mark.parametrize("data", ["float32", "float64", "int32", "int64"])
def test_archives_without_header(old_archive, data, cols, rows):
    folder = old_archive(data, cols, rows)
    with pytest.warns(UserWarning, match="SCDL header missing at .*header.sch; continuing without header."):
        dataset = SingleCellMemMapDataset(folder)
    assert dataset.dtypes["data.npy"] == data
    check_contents(dataset)


@pytest.mark.filterwarnings("ignore:SCDL header missing")
def test_recorded_and_given_dtypes_win(old_archive):
    folder = old_archive("uint16")
    check_contents(SingleCellMemMapDataset(folder))
    assert SingleCellMemMapDataset(folder, data_dtype="float16").dtypes["data.npy"] == "float16"
    with pytest.raises(ValueError, match="values of 2 bytes, but data_dtype is float32"):
        SingleCellMemMapDataset(folder, data_dtype="float32")
    (folder / "dtypes.json").write_text(json.dumps({"data.npy": "float16"}))
    assert SingleCellMemMapDataset(folder).dtypes["data.npy"] == "float16"
    for content in (
        '{"data.npy": "object"}',
        '{"data.npy": ["u2"]}',
        '["data.npy"]',
        "[" * 100_000,
        '{"data.npy": "V2"}',
    ):
        (folder / "dtypes.json").write_text(content)
        with pytest.raises(FormatError, match=r"dtypes\.json: .* Remove or repair it\.$"):
            SingleCellMemMapDataset(folder)


@pytest.mark.parametrize("data", ["float32", "float64", "uint32"])
def test_headers_of_2_7_record_the_source_dtype(old_archive, data):
    dataset = SingleCellMemMapDataset(old_archive(data, "int64", header=True))
    assert dataset.dtypes["data.npy"] == data
    check_contents(dataset)


@pytest.mark.parametrize("data", ["float32", "int32"])
@pytest.mark.filterwarnings("ignore:SCDL header missing", "ignore:The rows have 2 different gene tables")
def test_old_archives_can_be_appended_to(old_archive, make_archive, data):
    old = SingleCellMemMapDataset(old_archive(data))
    new = make_archive(options={"data_dtype": "float32" if data == "float32" else "uint16"})
    old.concat(new)
    assert np.array(old.data).tolist() == VALUES + VALUES
    assert np.array(old.row_index).tolist() == [*POINTERS, 8, 8, 10, 12]
    assert old.dtypes["row_ptr.npy"] == "uint8"
    assert [old.obs_features().lookup(row)[0] for row in (0, 4)] == [[None], ["cell0"]]
    assert old.verify() == []
    assert not (old.data_path / "features").exists()


@pytest.mark.filterwarnings("ignore:SCDL header missing")
def test_saving_brings_an_old_archive_up_to_date(old_archive):
    dataset = SingleCellMemMapDataset(old_archive("int32", labels=[pathlib.Path("x.h5ad")]))
    assert dataset.var_features()._labels == ["x.h5ad"]
    dataset.save()
    assert dataset.dtypes["data.npy"] == "uint32"
    assert dataset.verify() == []
    check_contents(SingleCellMemMapDataset(dataset.data_path))


@pytest.mark.filterwarnings("ignore:SCDL header missing")
def test_negative_integers_must_be_cast_first(old_archive):
    dataset = SingleCellMemMapDataset(old_archive("int32", values=[7, -2, 1, 300, 5, 9]))
    with pytest.raises(ValueError, match="holds negative integers"):
        dataset.save()
    dataset.cast_data_to_dtype("float64")
    assert np.array(dataset.data).tolist() == [7, -2, 1, 300, 5, 9]


@pytest.mark.filterwarnings("ignore:SCDL header missing")
@pytest.mark.parametrize("pointers", [[0, 2, 2, 3, 3], [0, 2, 2, 4, 4]])
def test_row_pointers_counted_in_rows_are_refused(old_archive, pointers):
    with pytest.raises(ValueError, match=r"the files do not fit together .*convert again"):
        SingleCellMemMapDataset(old_archive(pointers=pointers))


@pytest.mark.filterwarnings("ignore:SCDL header missing")
def test_an_index_that_counts_too_many_rows_is_refused(old_archive):
    folder = old_archive()
    np.save(folder / "features" / "cumulative_sum_index.npy", np.array([-1, 5]))
    with pytest.raises(ValueError, match="5 rows in the feature index"):
        SingleCellMemMapDataset(folder)


def rewrite_header(dataset, **changes):
    header = SCDLHeader.load(dataset.header_path)
    for name, (length, dtype) in changes.items():
        info = header.get_array(name)
        info.length, info.dtype = length or info.length, dtype or info.dtype
    header.save(dataset.header_path)


def test_a_header_left_behind_by_a_widening_is_corrected(make_archive):
    dataset = make_archive(options={"data_dtype": "float64"})
    np.array(dataset.row_index, "uint16").tofile(dataset.data_path / "row_ptr.npy")
    rewrite_header(dataset, DATA=(None, ArrayDType.FLOAT32_ARRAY), ROWPTR=(None, ArrayDType.UINT8_ARRAY))
    with pytest.warns(
        UserWarning, match="data.npy: the header says 6 items of float32 .24 bytes., the file has 48 bytes"
    ):
        opened = SingleCellMemMapDataset(dataset.data_path)
    assert opened.dtypes["data.npy"] == "float64"
    assert np.array(opened.data).tolist() == VALUES
    opened.save()
    assert opened.verify() == []


def test_integers_cast_to_floats_in_place_by_0_1_3_are_recognised(make_archive):
    dataset = make_archive(options={"data_dtype": "uint16"})
    np.array(VALUES, "float32").tofile(dataset.data_path / "data.npy")
    with pytest.warns(UserWarning, match="fit together as data.npy float32"):
        assert np.array(SingleCellMemMapDataset(dataset.data_path).data).tolist() == VALUES


@pytest.mark.parametrize("name", ["data.npy", "col_ptr.npy", "row_ptr.npy"])
@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_truncated_files_are_refused_by_name(make_archive, name, keep):
    dataset = make_archive()
    data = (dataset.data_path / name).read_bytes()
    (dataset.data_path / name).write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(
        ValueError, match=rf"{name}: the header says .* items of .* \({len(data)} bytes\), the file has"
    ):
        SingleCellMemMapDataset(dataset.data_path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_half_of_the_values_is_never_taken_for_narrower_ones(make_archive, dtype):
    dataset = make_archive(options={"data_dtype": dtype})
    data = (dataset.data_path / "data.npy").read_bytes()
    (dataset.data_path / "data.npy").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="truncated or damaged"):
        SingleCellMemMapDataset(dataset.data_path)


def test_wrong_ends_of_the_row_pointers(make_archive):
    dataset = make_archive()
    for pointers, message in (
        ([0, 2, 2, 4, 5], "the last row pointer is 5, but there are 6"),
        ([1, 2, 2, 4, 6], "the first row pointer is 1"),
    ):
        np.array(pointers, "uint8").tofile(dataset.data_path / "row_ptr.npy")
        with pytest.raises(ValueError, match=message):
            SingleCellMemMapDataset(dataset.data_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"garbage", "header.sch: damaged header .*too short"),
        (b"SCDL\x09\1\0\1\0\0\0\1\0\0\0\0\0\0\0\0", "header.sch: schema version 9.1.0.*Upgrade bionemo-scdl"),
        (b"SCDL\0\1\0\1\0\0\0\1\0\0\0\0\0\0\0\0", "header.sch: no array DATA"),
    ],
)
def test_unusable_headers_are_refused_by_name(make_archive, data, message):
    dataset = make_archive()
    (dataset.data_path / "header.sch").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        SingleCellMemMapDataset(dataset.data_path)


def test_a_newer_minor_version_with_an_unknown_array_opens(make_archive):
    dataset = make_archive()
    header = SCDLHeader.load(dataset.header_path)
    header.version.minor = 7
    header.add_array(ArrayInfo("NOVELTY", 3, ArrayDType.UINT8_ARRAY))
    header.save(dataset.header_path)
    assert len(SingleCellMemMapDataset(dataset.data_path)) == 4
