# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Write a set of tars that replaces the folder's earlier set of the same prefix as a whole.

All tars of the set are written and synced in a hidden folder that appears under its name (``.{prefix}-staged``) only
when the last one is complete. Then the old tars are removed, the new ones moved up and the hidden folder deleted. As
long as it exists the set is between old and new: :func:`check_complete` refuses to read it, and the next writer starts
over. Equal input gives equal bytes.
"""

import contextlib
import ctypes
import fcntl
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from bionemo.core.errors import ConfigError, DataFileError
from bionemo.core.files import atomic_directory, remove_leftovers


_BLOCK = 512
_RECORD = 20 * _BLOCK  # tars end on a multiple of this
_BUFFER = 1 << 18
_WRITEBACK_EVERY = 1 << 20
_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h
_ZEROS = bytes(_BLOCK)
_LARGEST_OCTAL = 8**11


class ShardSetWriter:
    """Context manager that writes ``{folder}/{prefix}-000000.tar`` and so on.

    Args:
        folder: Where the tars shall be; made if missing.
        prefix: Start of their names.

    Raises:
        ConfigError: The prefix holds a slash.
        DataFileError: The folder cannot be written. On this and every exception inside the block the folder's earlier
            tars stay as they were.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        if "/" in prefix or not prefix:
            raise ConfigError(f"output_prefix must be the start of a file name without '/', but got {prefix!r}.")
        self._folder, self._prefix = folder, prefix
        self._num_shards = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> "ShardSetWriter":
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DataFileError(f"{self._folder}: the folder cannot be made: {error.strerror}.") from error
            stack.enter_context(_locked(self._folder))
            remove_leftovers(self._folder)
            stack.push(self._commit)
            self._staging = stack.enter_context(atomic_directory(_staged(self._folder, self._prefix), overwrite=True))
            stack.push(self._end_shard)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, traceback)

    def begin_shard(self) -> None:
        """End the current tar, if any, and start the next."""
        self._end_shard()
        path = self._staging / f"{self._prefix}-{self._num_shards:06d}.tar"
        self._file = path.open("wb", buffering=_BUFFER)
        self._size = self._sent_to_disk = 0
        self._num_shards += 1

    def write(self, key: str, members: Mapping[str, bytes]) -> None:
        """Append one sample to the current tar.

        Args:
            key: Name of the sample, without a dot behind its last slash.
            members: Content by suffix; written in the order of the suffixes.
        """
        file = self._file
        assert file is not None, "begin_shard() comes first"
        for suffix in sorted(members):
            data = members[suffix]
            header = _header(f"{key}.{suffix}", len(data))
            padding = -len(data) % _BLOCK
            file.write(header)
            file.write(data)
            file.write(_ZEROS[:padding])
            self._size += len(header) + len(data) + padding
        if self._size - self._sent_to_disk >= _WRITEBACK_EVERY:
            file.flush()
            _start_writeback(file.fileno(), self._sent_to_disk, self._size - self._sent_to_disk)
            self._sent_to_disk = self._size

    def _end_shard(self, *_: object) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with file:
                end = self._size + 2 * _BLOCK
                file.write(bytes(2 * _BLOCK + -end % _RECORD))

    def _commit(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        staged = _staged(self._folder, self._prefix)
        for path in self._folder.iterdir():
            if re.fullmatch(rf"{re.escape(self._prefix)}-\d{{6,}}\.tar", path.name):
                path.unlink()
        for path in sorted(staged.iterdir()):
            path.rename(self._folder / path.name)
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        staged.rmdir()


def check_complete(folder: Path, prefix: str) -> None:
    """Refuse a folder whose set of tars was being replaced when its writer was stopped.

    Raises:
        DataFileError: It is in that state.
    """
    if _staged(folder, prefix).exists():
        raise DataFileError(
            f"{folder}: the writing of the tars '{prefix}-*.tar' was stopped before its end, or goes on. "
            "Run prepare_data (pickles_to_tars) again."
        )


def _staged(folder: Path, prefix: str) -> Path:
    return folder / f".{prefix}-staged"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let writers of one folder wait for each other, such as several nodes on one file system."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _start_writeback(descriptor: int, offset: int, size_bytes: int) -> None:
    """Let the disk work while the next samples are read; the sync at the end then has little left to wait for.

    Only a hint: where the system lacks the call or refuses it, that sync does all the work and reports all errors.
    """
    sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if sync_file_range is not None:
        sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(size_bytes), _SYNC_FILE_RANGE_WRITE)


def _field(value: bytes, size: int) -> bytes:
    return value.ljust(size, b"\0")


_MIDDLE = b"0000644\0" + b"0000000\0" * 2  # mode, user, group: between name and size
_MTIME = b"0" * 11 + b"\0"  # no time: equal input gives equal bytes
_TAIL = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)  # type, ..., prefix, unused
_CONSTANT_SUM = sum(_MIDDLE) + sum(_MTIME) + sum(_TAIL) + 8 * ord(" ")


def _header(name: str, size: int) -> bytes:
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) > 100 or size >= _LARGEST_OCTAL:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o644, 0
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    digits = b"%011o\0" % size
    checksum = b"%06o\0 " % (_CONSTANT_SUM + sum(raw) + sum(digits))
    return _field(raw, 100) + _MIDDLE + digits + _MTIME + checksum + _TAIL
