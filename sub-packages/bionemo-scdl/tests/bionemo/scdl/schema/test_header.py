# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from bionemo.scdl.schema.header import (
    ArrayDType,
    ArrayInfo,
    Backend,
    FeatureIndexInfo,
    HeaderReader,
    SCDLHeader,
    create_header_from_arrays,
    merge_headers,
    validate_header_compatibility,
)
from bionemo.scdl.schema.headerutil import BinaryHeaderCodec, HeaderSerializationError
from bionemo.scdl.schema.magic import SCDL_MAGIC_NUMBER
from bionemo.scdl.schema.version import CurrentSCDLVersion, SCDLVersion, Version


CODEC = BinaryHeaderCodec()
CORE = b"SCDL\0\1\0\1\0\0\0\1"


def make_header() -> SCDLHeader:
    return SCDLHeader(
        arrays=[
            ArrayInfo("DATA", 4, ArrayDType.FLOAT32_ARRAY, (2, 2)),
            ArrayInfo("ROWPTR", 3, ArrayDType.UINT8_ARRAY),
        ],
        feature_indices=[FeatureIndexInfo("var_features", 2, ArrayDType.STRING_ARRAY, ["a", "b"], (1,))],
    )


def test_bytes_are_the_documented_ones():
    header = SCDLHeader(arrays=[ArrayInfo("DATA", 4, ArrayDType.FLOAT32_ARRAY)])
    expected = CORE + b"\0\0\0\1" + b"\0\0\0\4DATA" + b"\0" * 7 + b"\4" + b"\0\0\0\6" + b"\0" + b"\0\0\0\0"
    assert header.serialize() == expected
    assert header.calculate_total_size() == len(expected)
    assert SCDL_MAGIC_NUMBER == b"SCDL"


def test_round_trip_through_a_file(tmp_path):
    header = make_header()
    header.save(tmp_path / "header.sch")
    read = SCDLHeader.load(tmp_path / "header.sch")
    assert read.arrays == header.arrays
    assert read.feature_indices == header.feature_indices
    assert read.version == CurrentSCDLVersion()
    assert header.calculate_total_size() == (tmp_path / "header.sch").stat().st_size
    assert str(read) == repr(read) == "SCDLHeader(version=0.1.0, backend=MEMMAP_V0, arrays=2, feature_indices=1)"
    assert str(read.arrays[0]) == "ArrayInfo(name='DATA', length=4, dtype=FLOAT32_ARRAY, shape=(2, 2))"
    assert str(read.feature_indices[0]).endswith("dtype=STRING_ARRAY, files=2, shape=(1,))")


def test_descriptors_tell_the_bytes_they_took():
    packed = ArrayInfo("A", 7, ArrayDType.UINT8_ARRAY).serialize(CODEC)
    assert ArrayInfo.deserialize(CODEC, b"xx" + packed, 2) == (ArrayInfo("A", 7, ArrayDType.UINT8_ARRAY), 18)
    index = FeatureIndexInfo("v", 7, ArrayDType.STRING_ARRAY, ["file"])
    assert FeatureIndexInfo.deserialize(CODEC, index.serialize(CODEC)) == (index, index.calculate_size())


def test_arrays_and_indices_can_be_looked_up_and_removed():
    header = make_header()
    assert header.get_array("ROWPTR").length == 3
    assert header.get_array("nothing") is None
    assert header.remove_array("ROWPTR")
    assert not header.remove_array("ROWPTR")
    assert header.get_feature_index("var_features").length == 2
    assert header.remove_feature_index("var_features")
    assert header.feature_indices == []


def test_json_and_yaml_show_the_same():
    header = make_header()
    shown = json.loads(header.to_json())
    assert shown["version"] == {"major": 0, "minor": 1, "point": 0}
    assert shown["arrays"][0] == {"name": "DATA", "length": 4, "dtype": "FLOAT32_ARRAY", "shape": [2, 2]}
    assert shown["feature_indices"][0]["index_files"] == ["a", "b"]
    assert "version: 0.1.0" in header.to_yaml()


def test_a_header_without_a_second_count_has_no_indices():
    assert SCDLHeader.deserialize(CORE + b"\0\0\0\0").feature_indices == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Header data too short: 0 bytes < 16 bytes minimum"),
        (b"XXXX" + bytes(12), "Invalid magic number: b'XXXX' != b'SCDL'"),
        (b"SCDL\0\1\0\2" + bytes(8), "Invalid endianness: 2 (must be 1 for NETWORK)"),
        (b"SCDL\0\1\0\1" + bytes(8), "Invalid backend value: 0"),
        (CORE + b"\0\0\0\2", "Unexpected end of data while reading array 0"),
        (CORE + b"\0\0\0\0" + b"\0\0\0\1", "Unexpected end of data while reading feature index 0"),
        (CORE + b"\0\0\0\1" + b"\0\0\0\1A" + bytes(8) + b"\0\0\0\x63\0", "Invalid ArrayDType value: 99"),
    ],
)
def test_damaged_bytes_are_refused(data, message):
    with pytest.raises(HeaderSerializationError) as caught:
        SCDLHeader.deserialize(data)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (ArrayInfo(" ", 1, ArrayDType.UINT8_ARRAY), "Array name cannot be empty (schema requirement)"),
        (ArrayInfo("a", -1, ArrayDType.UINT8_ARRAY), "Array length cannot be negative: -1"),
        (ArrayInfo("a", 1, ArrayDType.UINT8_ARRAY, ()), "Shape cannot be empty when specified"),
        (ArrayInfo("a", 1, ArrayDType.UINT8_ARRAY, (2, 0)), "Shape dimension 1 must be positive: 0"),
        (FeatureIndexInfo("", 1, ArrayDType.UINT8_ARRAY), "FeatureIndex name cannot be empty (schema requirement)"),
        (FeatureIndexInfo("v", 1, ArrayDType.UINT8_ARRAY, [""]), "FeatureIndex file path 0 cannot be empty"),
        (FeatureIndexInfo("v", 1, ArrayDType.UINT8_ARRAY, None, (0,)), "FeatureIndex shape dimension 0 must be"),
    ],
)
def test_impossible_descriptors_are_refused(info, message):
    with pytest.raises(HeaderSerializationError) as caught:
        info.serialize(CODEC)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (SCDLHeader(arrays=[ArrayInfo("a", 1, ArrayDType.UINT8_ARRAY)] * 2), "Duplicate array names found"),
        (SCDLHeader(arrays=[ArrayInfo("x" * 1025, 1, ArrayDType.UINT8_ARRAY)]), "Array name too long: xxx"),
        (SCDLHeader(version=SCDLVersion(9, 0, 0)), "Unsupported version: 9.0.0 > 0.1.0"),
        (
            SCDLHeader(
                arrays=[ArrayInfo("a", 1, ArrayDType.UINT8_ARRAY)],
                feature_indices=[FeatureIndexInfo("a", 1, ArrayDType.UINT8_ARRAY)],
            ),
            "Name conflicts between arrays and feature indices",
        ),
    ],
)
def test_inconsistent_headers_are_not_written(header, message):
    with pytest.raises(HeaderSerializationError) as caught:
        header.serialize()
    assert str(caught.value).startswith(f"Failed to serialize SCDL header: {message}")


def test_reader_needs_the_first_bytes_only(tmp_path):
    (tmp_path / "h").write_bytes(make_header().serialize())
    reader = HeaderReader(tmp_path / "h")
    assert reader.validate_magic()
    assert (reader.get_version(), reader.get_backend(), reader.get_array_count()) == (
        SCDLVersion(0, 1, 0),
        Backend.MEMMAP_V0,
        2,
    )
    assert reader.get_full_header() is reader.get_full_header()
    (tmp_path / "short").write_bytes(b"SCDL")
    with pytest.raises(HeaderSerializationError, match="Invalid header file"):
        HeaderReader(tmp_path / "short").get_version()


def test_files_that_cannot_be_read_or_written_are_named(tmp_path):
    with pytest.raises(HeaderSerializationError, match=r"Header file not found: .*nope"):
        SCDLHeader.load(tmp_path / "nope")
    (tmp_path / "short").write_bytes(b"12")
    with pytest.raises(HeaderSerializationError, match=r"Failed to load header from .*short: Header data too short"):
        SCDLHeader.load(tmp_path / "short")
    with pytest.raises(HeaderSerializationError, match="Failed to save header to "):
        make_header().save(tmp_path / "no" / "folder")


def test_merging():
    other = SCDLHeader(version=SCDLVersion(0, 2, 0), arrays=[ArrayInfo("COLPTR", 1, ArrayDType.UINT8_ARRAY)])
    merged = merge_headers(make_header(), other)
    assert [info.name for info in merged.arrays] == ["DATA", "ROWPTR", "COLPTR"]
    assert str(merged.version) == "0.2.0"
    assert not validate_header_compatibility(make_header(), make_header())
    assert not validate_header_compatibility(SCDLHeader(), SCDLHeader(version=SCDLVersion(1, 0, 0)))
    with pytest.raises(HeaderSerializationError, match="Headers are not compatible for merging"):
        merge_headers(make_header(), make_header())
    assert create_header_from_arrays(["x/b.npy"]).arrays == [ArrayInfo("b.npy", 0, ArrayDType.FLOAT32_ARRAY)]


def test_versions_compare_by_their_numbers():
    assert SCDLVersion(0, 1, 0) == CurrentSCDLVersion() == Version(0, 1, 0)
    assert SCDLVersion(0, 1, 1) != CurrentSCDLVersion()
    assert repr(SCDLVersion(1, 2, 3)) == "SCDLVersion(major=1, minor=2, point=3)"
    assert SCDLVersion() != "0.0.0"
