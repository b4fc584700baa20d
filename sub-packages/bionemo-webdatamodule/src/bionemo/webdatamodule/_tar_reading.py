# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Read local, uncompressed tars as webdataset samples: count them without reading their data, or read a range of them.

Members that follow each other and share the part before the first dot are one sample, as in webdataset. Unlike a
stream reader this one can start in the middle of a shard, and a tar that was cut off is an error, never a short shard.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bionemo.core.errors import DataFileError, FormatError, MissingFileError


_BLOCK = 512
_META = re.compile(r"__[^/]*__($|/)")  # webdataset's convention for members that are not data
_NAME = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
_WITHOUT_DATA = frozenset(b"123456")  # links, devices, folders, pipes
_REGULAR = frozenset(b"0\x007")


@dataclass(frozen=True, kw_only=True)
class NameFilter:
    """Which members of a tar count, and under which name; both functions must be picklable for spawned workers.

    Attributes:
        rename: Called first, with the member's name.
        select: Called with the new name; members for which it is false are left out.
    """

    rename: Callable[[str], str] | None = None
    select: Callable[[str], bool] | None = None

    def split(self, name: str) -> tuple[str, str] | None:
        """Split a member's name into the sample's key and the lower-case suffix; None for what is not data."""
        if name.startswith("__") and _META.match(name):
            return None
        if self.rename is not None:
            name = self.rename(name)
        if self.select is not None and not self.select(name):
            return None
        match = _NAME.fullmatch(name)
        return (match[1], match[2].lower()) if match else None


@dataclass(frozen=True)
class ShardCount:
    """What is in one tar.

    Attributes:
        path: The tar.
        num_samples: Samples that are complete.
        error: Why reading ended before the end of the tar, or None.
    """

    path: str
    num_samples: int
    error: DataFileError | FormatError | None = None


def count_samples(path: str, names: NameFilter) -> ShardCount:
    """Count the samples of one tar by hopping from header to header; the members' data are not read."""
    num_complete, key = 0, None
    try:
        with _TarFile(path) as tar:
            for name, _, _ in tar.members():
                parts = names.split(name)
                if parts is not None and parts[0] != key:
                    num_complete += key is not None
                    tar.last_key, key = key, parts[0]
    except (DataFileError, FormatError) as error:
        return ShardCount(path, num_complete, error)
    return ShardCount(path, num_complete + (key is not None))


def read_samples(path: str, start: int, stop: int, names: NameFilter) -> Iterator[dict[str, Any]]:
    """Read the samples ``start`` to ``stop - 1`` of one tar.

    Args:
        path: The tar.
        start: First sample to read, counted from 0; those before it are hopped over.
        stop: One behind the last sample to read; at most what :func:`count_samples` found.
        names: Which members count.

    Yields:
        ``__key__``, ``__url__``, ``__local_path__`` (strings) and one entry of bytes per suffix, in the tar's order.

    Raises:
        DataFileError: The tar is missing, unreadable, cut off, or has fewer samples than when it was counted.
        FormatError: It is no tar, damaged, or has a sample with two members of one suffix.
    """
    if start >= stop:
        return
    num_begun, key = 0, None
    sample: dict[str, Any] | None = None
    with _TarFile(path) as tar:
        for name, offset, size in tar.members():
            parts = names.split(name)
            if parts is None:
                continue
            if parts[0] != key:
                if sample is not None:
                    yield sample
                if num_begun == stop:
                    return
                tar.last_key, key = key, parts[0]
                sample = {"__key__": key, "__url__": path, "__local_path__": path} if num_begun >= start else None
                num_begun += 1
            if sample is not None:
                if parts[1] in sample:
                    raise FormatError(
                        f"{path}: sample '{key}' has two members '.{parts[1]}'; expected one. Write the tar anew."
                    )
                sample[parts[1]] = tar.read(offset, size)
    if sample is not None:
        yield sample
    if num_begun < stop:
        raise DataFileError(
            f"{path}: has {num_begun} samples now, but had at least {stop} at setup. "
            "Run setup again after replacing tars."
        )


class _TarFile:
    """One open tar: its regular members, and their data at any offset."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.last_key: str | None = None

    def __enter__(self) -> "_TarFile":
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise MissingFileError(f"{self.path}: the tar does not exist. Check the folder of the split.") from error
        except OSError as error:
            raise DataFileError(f"{self.path}: the tar cannot be opened: {error.strerror}.") from error
        self._size = os.fstat(self._descriptor).st_size
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def members(self) -> Iterator[tuple[str, int, int]]:
        """Yield name, offset of the data and size in bytes of each regular member, in order."""
        offset, long_name, pax_size = 0, None, None
        while True:
            header = self.read(offset, _BLOCK)
            if not header.strip(b"\0"):
                return
            name, size, kind = self._parse(header, offset)
            offset += _BLOCK
            if kind in _WITHOUT_DATA:
                long_name = pax_size = None
                continue
            if kind == ord("x"):
                long_name, pax_size = _pax_name_and_size(self.read(offset, size))
            elif kind == ord("L"):
                long_name = _text(self.read(offset, size).rstrip(b"\0"))
            elif kind in _REGULAR:
                size = size if pax_size is None else pax_size
                self._check_end(offset + size)
                yield long_name or name, offset, size
                long_name = pax_size = None
            elif kind == ord("S"):
                raise FormatError(f"{self.path}: member '{name}' is stored sparsely. Write the tar without --sparse.")
            offset += -(-size // _BLOCK) * _BLOCK

    def read(self, offset: int, size: int) -> bytes:
        """Read exactly ``size`` bytes."""
        self._check_end(offset + size)
        data = os.pread(self._descriptor, size, offset)
        while len(data) < size:  # one call gives at most 2 GiB
            more = os.pread(self._descriptor, size - len(data), offset + len(data))
            if not more:
                self._size = offset + len(data)
                self._check_end(offset + size)
            data += more
        return data

    def _check_end(self, end: int) -> None:
        if end > self._size:
            raise DataFileError(
                f"{self.path}: is cut off: it ends at byte {self._size}, at least {end} are needed; the last complete "
                f"sample is {self._last_good()}. Write or copy the tar again."
            )

    def _parse(self, header: bytes, offset: int) -> tuple[str, int, int]:
        try:
            expected = int(header[148:156].strip(b" \0") or b"0", 8)
            if expected != sum(header) - sum(header[148:156]) + 8 * ord(" "):
                raise ValueError("checksum")
            raw = header[124:136]
            size = int.from_bytes(raw[1:], "big") if raw[0] == 0x80 else int(raw.strip(b" \0") or b"0", 8)
        except ValueError as error:
            raise FormatError(
                f"{self.path}: no valid tar header at byte {offset}; the last complete sample is {self._last_good()}. "
                "Expected an uncompressed, undamaged tar: write or copy it again."
            ) from error
        name = _text(header[:100].partition(b"\0")[0])
        if header[257:263] == b"ustar\0" and header[345]:
            name = _text(header[345:500].partition(b"\0")[0]) + "/" + name
        return name, size, header[156]

    def _last_good(self) -> str:
        return f"'{self.last_key}'" if self.last_key is not None else "none"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _pax_name_and_size(records: bytes) -> tuple[str | None, int | None]:
    """Take name and size from the lines ``<length> <keyword>=<value>`` of an extended header."""
    name, size = None, None
    while records.strip(b"\0"):
        length, _, rest = records.partition(b" ")
        if not length.isdigit() or int(length) <= len(length) + 1:
            break
        keyword, _, value = rest[: int(length) - len(length) - 2].partition(b"=")
        if keyword == b"path":
            name = _text(value)
        elif keyword == b"size" and value.isdigit():
            size = int(value)
        records = records[int(length) :]
    return name, size
