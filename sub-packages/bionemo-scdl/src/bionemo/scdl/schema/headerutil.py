# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers and strings as the bytes of an archive header, always big-endian."""

import struct
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from bionemo.core.errors import FormatError


class HeaderSerializationError(FormatError):
    """A header cannot be written as, or read from, bytes."""


class Endianness(Enum):
    """Byte orders of a header, as :mod:`struct` writes them."""

    NETWORK = "!"


# struct's code and the largest value (None: a float) of every number type.
_NUMBERS: dict[str, tuple[str, int | None]] = {
    "uint8": ("B", 2**8 - 1),
    "uint16": ("H", 2**16 - 1),
    "uint32": ("I", 2**32 - 1),
    "uint64": ("Q", 2**64 - 1),
    "float16": ("e", None),
    "float32": ("f", None),
}


class BinaryHeaderCodec:
    """Packs values into bytes and reads them back; every failure is a :class:`HeaderSerializationError`."""

    def __init__(self, endianness: Endianness = Endianness.NETWORK) -> None:
        """Set the byte order (there is one)."""
        self.endianness: str = endianness.value

    def _pack(self, kind: str, value: Any) -> bytes:
        code, highest = _NUMBERS[kind]
        if highest is not None:
            if not isinstance(value, int):
                raise HeaderSerializationError(f"Expected integer for {kind}, got {type(value)}")
            if not 0 <= value <= highest:
                raise HeaderSerializationError(f"{kind} value {value} out of range [0, {highest}]")
        try:
            return struct.pack(self.endianness + code, value)
        except (struct.error, OverflowError) as error:
            raise HeaderSerializationError(f"Cannot pack {kind} value {value}: {error}") from error

    def _unpack(self, kind: str, data: bytes) -> Any:
        code, _ = _NUMBERS[kind]
        if not isinstance(data, bytes | bytearray | memoryview):
            raise HeaderSerializationError(f"Expected bytes for {kind}, got {type(data)}")
        size = struct.calcsize(code)
        if len(data) < size:
            raise HeaderSerializationError(f"Insufficient data for {kind}: need {size} bytes, got {len(data)}")
        return struct.unpack_from(self.endianness + code, data)[0]

    def pack_uint8(self, value: int) -> bytes:
        """One byte."""
        return self._pack("uint8", value)

    def unpack_uint8(self, data: bytes) -> int:
        """Read the first byte."""
        return int(self._unpack("uint8", data))

    def pack_uint16(self, value: int) -> bytes:
        """Two bytes."""
        return self._pack("uint16", value)

    def unpack_uint16(self, data: bytes) -> int:
        """Read the first two bytes."""
        return int(self._unpack("uint16", data))

    def pack_uint32(self, value: int) -> bytes:
        """Four bytes."""
        return self._pack("uint32", value)

    def unpack_uint32(self, data: bytes) -> int:
        """Read the first four bytes."""
        return int(self._unpack("uint32", data))

    def pack_uint64(self, value: int) -> bytes:
        """Eight bytes."""
        return self._pack("uint64", value)

    def unpack_uint64(self, data: bytes) -> int:
        """Read the first eight bytes."""
        return int(self._unpack("uint64", data))

    def pack_float16(self, value: float) -> bytes:
        """Two bytes."""
        return self._pack("float16", value)

    def unpack_float16(self, data: bytes) -> float:
        """Read the first two bytes."""
        return float(self._unpack("float16", data))

    def pack_float32(self, value: float) -> bytes:
        """Four bytes."""
        return self._pack("float32", value)

    def unpack_float32(self, data: bytes) -> float:
        """Read the first four bytes."""
        return float(self._unpack("float32", data))

    def pack_string(self, value: str, max_length: int | None = None) -> bytes:
        """Length in bytes as uint32, then UTF-8.

        Args:
            value: The text.
            max_length: Greatest number of bytes allowed.
        """
        encoded = self._encode(value)
        if max_length is not None and len(encoded) > max_length:
            raise HeaderSerializationError(f"String too long: {len(encoded)} bytes > {max_length} bytes limit")
        return self.pack_uint32(len(encoded)) + encoded

    def unpack_string(self, data: bytes, max_length: int | None = None) -> tuple[str, int]:
        """Read a text written by :meth:`pack_string`; returns it and the number of bytes it took."""
        if len(data) < 4:
            raise HeaderSerializationError("Insufficient data for string length")
        length = self.unpack_uint32(data)
        if max_length is not None and length > max_length:
            raise HeaderSerializationError(f"String too long: {length} bytes > {max_length} bytes limit")
        if len(data) < 4 + length:
            raise HeaderSerializationError(f"Insufficient data for string: need {4 + length} bytes, got {len(data)}")
        return self._decode(bytes(data[4 : 4 + length])), 4 + length

    def pack_fixed_string(self, value: str, size: int, padding: bytes = b"\x00") -> bytes:
        """UTF-8 filled up with ``padding`` to ``size`` bytes."""
        encoded = self._encode(value)
        self._check_field(size, padding)
        if len(encoded) > size:
            raise HeaderSerializationError(f"String too long: {len(encoded)} bytes > {size} bytes field size")
        return encoded.ljust(size, padding)

    def unpack_fixed_string(self, data: bytes, size: int, padding: bytes = b"\x00") -> str:
        """Read a text written by :meth:`pack_fixed_string`, without its padding."""
        self._check_field(size, padding)
        if len(data) < size:
            raise HeaderSerializationError(f"Insufficient data: need {size} bytes, got {len(data)}")
        return self._decode(bytes(data[:size]).rstrip(padding))

    def calculate_header_size(self, field_specs: Sequence[tuple[str, int | None]]) -> int:
        """Bytes of a sequence of fields, each a number type with None or ``("fixed_string", size)``."""
        total = 0
        for kind, size in field_specs:
            if kind == "fixed_string":
                if not isinstance(size, int) or size <= 0:
                    raise HeaderSerializationError(f"fixed_string requires positive integer size, got {size}")
                total += size
            elif kind in _NUMBERS:
                total += struct.calcsize(_NUMBERS[kind][0])
            else:
                raise HeaderSerializationError(f"Unknown field type: {kind}")
        return total

    @staticmethod
    def _check_field(size: int, padding: bytes) -> None:
        if size <= 0:
            raise HeaderSerializationError(f"Size must be positive, got {size}")
        if len(padding) != 1:
            raise HeaderSerializationError(f"Padding must be single byte, got {len(padding)} bytes")

    @staticmethod
    def _encode(value: str) -> bytes:
        if not isinstance(value, str):
            raise HeaderSerializationError(f"Expected string, got {type(value)}")
        return value.encode("utf-8")

    @staticmethod
    def _decode(data: bytes) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise HeaderSerializationError(f"Cannot decode UTF-8 string: {error}") from error


class HeaderCursor:
    """Reads one field after the other from bytes."""

    def __init__(self, codec: BinaryHeaderCodec, data: bytes, offset: int = 0) -> None:
        """Start at a byte."""
        self.codec, self.data, self.offset = codec, data, offset

    def number(self, kind: str) -> int:
        """Read an unsigned integer, for example ``"uint32"``."""
        unpack: Callable[[bytes], int] = getattr(self.codec, f"unpack_{kind}")
        size = struct.calcsize(_NUMBERS[kind][0])
        value = unpack(self.data[self.offset : self.offset + size])
        self.offset += size
        return value

    def string(self) -> str:
        """Read a text with its length in front."""
        value, consumed = self.codec.unpack_string(self.data[self.offset :])
        self.offset += consumed
        return value

    def strings(self) -> list[str]:
        """Read a uint32 count and as many texts."""
        return [self.string() for _ in range(self.number("uint32"))]

    def shape(self) -> tuple[int, ...] | None:
        """Read a flag and, where it is set, a uint32 count and as many uint32 dimensions."""
        if not self.number("uint8"):
            return None
        return tuple(self.number("uint32") for _ in range(self.number("uint32")))
