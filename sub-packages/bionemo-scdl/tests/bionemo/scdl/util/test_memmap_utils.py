# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from bionemo.scdl.util.memmap_utils import determine_dtype, smallest_uint_dtype


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "uint8"), (255, "uint8"), (256, "uint16"), (2**16, "uint32"), (2**32, "uint64"), (2**64 - 1, "uint64")],
)
def test_smallest_unsigned_dtype(number, name):
    assert smallest_uint_dtype(number) == name


def test_numbers_without_a_dtype():
    with pytest.raises(ValueError, match="Negative numbers can't be unsigned"):
        smallest_uint_dtype(-1)
    with pytest.raises(
        ValueError, match="No unsigned integer dtype can represent the given number: 18446744073709551616"
    ):
        smallest_uint_dtype(2**64)


def test_widest_of_a_family():
    assert determine_dtype(["uint8", "uint32", "uint16"]) == "uint32"
    assert determine_dtype(["float64", "float16"]) == "float64"
    with pytest.raises(ValueError, match="No dtypes provided"):
        determine_dtype([])
    with pytest.raises(ValueError, match=r"families not allowed: \['float32', 'uint8'\]"):
        determine_dtype(["uint8", "float32", "uint8"])
