# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from bionemo.scdl.util.filecopyutil import extend_files


@pytest.fixture
def files(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    np.array([1, 2], np.uint16).tofile(first)
    np.array([7, 8, 255], np.uint8).tofile(second)
    return first, second


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_appends_converted_values(files, chunk):
    first, second = files
    extend_files(
        first,
        second,
        "uint8",
        "uint16",
        elements_per_chunk=chunk,
        offset=1,
        add_value=2,
        delete_file2_on_complete=True,
    )
    assert np.fromfile(first, np.uint16).tolist() == [1, 2, 10, 257]
    assert not second.exists()


@pytest.mark.parametrize(
    ("source", "dest", "options", "message"),
    [
        ("uint16", "uint8", {}, "Downscaling not allowed: uint16 → uint8."),
        ("uint8", "float32", {}, "Unsupported dtype conversion: uint8 → float32."),
        ("uint16", "uint32", {"offset": 1}, "Offset 1 must be non-negative and divisible by source dtype size 2"),
        ("uint16", "uint32", {}, r"Source size minus offset \(3 bytes\) not divisible by source dtype size \(2\)."),
    ],
)
def test_what_does_not_fit_is_refused_before_writing(files, source, dest, options, message):
    first, second = files
    before = first.read_bytes()
    with pytest.raises(ValueError, match=message):
        extend_files(first, second, source, dest, **options)
    assert first.read_bytes() == before


def test_values_too_large_for_a_downscaling_leave_the_file_as_it_was(files):
    first, second = files
    before = second.read_bytes()
    np.array([5, 300], np.uint16).tofile(first)
    with pytest.raises(ValueError, match="the value 300 does not fit uint8"):
        extend_files(second, first, "uint16", "uint8", elements_per_chunk=1, allow_downscaling=True)
    assert second.read_bytes() == before
