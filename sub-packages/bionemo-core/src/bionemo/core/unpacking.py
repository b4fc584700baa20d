# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Limits for what compressed data may unpack to: a few kilobytes can stand for terabytes."""

import zlib

from bionemo.core.errors import FormatError


MIN_UNPACKED_BYTES = 64 * 2**20
"""What any file may unpack to."""
MAX_UNPACKED_RATIO = 100
"""A larger one may unpack to so many times its own size; text, counts and weights stay below 20."""


class DecompressionLimitError(FormatError):
    """Compressed data would unpack to more than is allowed."""


def unpacked_limit(packed_bytes: int, max_unpacked_bytes: int | None = None) -> int:
    """Return how many bytes a file of ``packed_bytes`` may unpack to; ``max_unpacked_bytes`` replaces the default.

    >>> unpacked_limit(10**7)
    1000000000
    """
    if max_unpacked_bytes is not None:
        return max_unpacked_bytes
    return max(MIN_UNPACKED_BYTES, MAX_UNPACKED_RATIO * packed_bytes)


def check_unpacked_size(name: object, packed_bytes: int, unpacked_bytes: int, max_bytes: int | None = None) -> None:
    """Refuse what unpacks to more than its limit.

    Raises:
        DecompressionLimitError: The message names the limit and how to raise it.
    """
    limit = unpacked_limit(packed_bytes, max_bytes)
    if unpacked_bytes > limit:
        raise DecompressionLimitError(
            f"{name}: {packed_bytes:,} bytes unpack to more than {limit:,}. If you trust where they come from, raise "
            "the limit with max_unpacked_bytes."
        )


def gunzip(data: bytes, *, name: object = "gzip data", max_unpacked_bytes: int | None = None) -> bytes:
    """Unpack gzip data in memory, one member or several.

    Raises:
        DecompressionLimitError: They unpack to more than 64 MiB and 100 times their size, or ``max_unpacked_bytes``.
        FormatError: They are damaged or cut off.
    """
    limit, parts, total, rest = unpacked_limit(len(data), max_unpacked_bytes), [], 0, data
    while rest:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            part = unpacker.decompress(rest, limit - total + 1)
        except zlib.error as error:
            raise FormatError(f"{name}: damaged gzip data ({error}).") from error
        total += len(part)
        check_unpacked_size(name, len(data), total, limit)
        if not unpacker.eof:
            raise FormatError(f"{name}: the gzip data are cut off.")
        parts.append(part)
        rest = unpacker.unused_data.lstrip(b"\0")  # padding, as tapes and tar leave it
    return b"".join(parts)
