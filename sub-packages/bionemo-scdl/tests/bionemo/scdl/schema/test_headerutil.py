# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from bionemo.core.errors import FormatError
from bionemo.scdl.schema.headerutil import BinaryHeaderCodec, HeaderCursor, HeaderSerializationError


CODEC = BinaryHeaderCodec()


@pytest.mark.parametrize(
    ("kind", "value", "packed"),
    [
        ("uint8", 255, b"\xff"),
        ("uint16", 258, b"\x01\x02"),
        ("uint32", 2**32 - 1, b"\xff\xff\xff\xff"),
        ("uint64", 1, b"\x00" * 7 + b"\x01"),
        ("float16", 1.5, b"\x3e\x00"),
        ("float32", -2.0, b"\xc0\x00\x00\x00"),
    ],
)
def test_numbers_are_big_endian_and_come_back(kind, value, packed):
    assert getattr(CODEC, f"pack_{kind}")(value) == packed
    assert getattr(CODEC, f"unpack_{kind}")(packed + b"rest") == value


def test_strings_come_back_with_the_bytes_they_took():
    packed = CODEC.pack_string("gène")
    assert packed == b"\x00\x00\x00\x05g\xc3\xa8ne"
    assert CODEC.unpack_string(packed + b"x") == ("gène", 9)
    assert CODEC.pack_fixed_string("ab", 4, b"_") == b"ab__"
    assert CODEC.unpack_fixed_string(b"ab__zz", 4, b"_") == "ab"
    assert CODEC.calculate_header_size([("uint8", None), ("float32", None), ("fixed_string", 7)]) == 12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CODEC.pack_uint8(1.5), "Expected integer for uint8, got <class 'float'>"),
        (lambda: CODEC.pack_uint8(300), "uint8 value 300 out of range [0, 255]"),
        (lambda: CODEC.unpack_uint16(b"1"), "Insufficient data for uint16: need 2 bytes, got 1"),
        (lambda: CODEC.unpack_uint8("x"), "Expected bytes for uint8, got <class 'str'>"),
        (lambda: CODEC.pack_float16(1e9), "Cannot pack float16 value 1000000000.0: "),
        (lambda: CODEC.pack_string(3), "Expected string, got <class 'int'>"),
        (lambda: CODEC.pack_string("abc", 2), "String too long: 3 bytes > 2 bytes limit"),
        (lambda: CODEC.unpack_string(b"12"), "Insufficient data for string length"),
        (lambda: CODEC.unpack_string(b"\0\0\0\5ab"), "Insufficient data for string: need 9 bytes, got 6"),
        (lambda: CODEC.unpack_string(b"\0\0\0\2\xff\xff"), "Cannot decode UTF-8 string: "),
        (lambda: CODEC.pack_fixed_string("abc", 2), "String too long: 3 bytes > 2 bytes field size"),
        (lambda: CODEC.pack_fixed_string("abc", 0), "Size must be positive, got 0"),
        (lambda: CODEC.pack_fixed_string("abc", 5, b"12"), "Padding must be single byte, got 2 bytes"),
        (lambda: CODEC.unpack_fixed_string(b"ab", 5), "Insufficient data: need 5 bytes, got 2"),
        (
            lambda: CODEC.calculate_header_size([("fixed_string", None)]),
            "fixed_string requires positive integer size, got None",
        ),
        (lambda: CODEC.calculate_header_size([("zz", None)]), "Unknown field type: zz"),
    ],
)
def test_errors_say_what_was_found(call, message):
    with pytest.raises(HeaderSerializationError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, FormatError)


def test_cursor_reads_one_field_after_the_other():
    cursor = HeaderCursor(CODEC, b"\x00\x07" + CODEC.pack_string("a") + b"\x01" + b"\0\0\0\1" + b"\0\0\0\x09")
    assert cursor.number("uint16") == 7
    assert cursor.string() == "a"
    assert cursor.shape() == (9,)
    assert cursor.offset == len(cursor.data)
