# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One tensor in an archive of ``torch.save`` that is a section of a larger file, as in ``__0_0.distcp``.

Only the description of the tensor is unpickled, by `bionemo.core.restricted_pickle`; its bytes are read from their
place in the file, without mapping or copying the rest.
"""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.core.restricted_pickle import RestrictedPickleError, RestrictedUnpickler


STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
MAX_DESCRIPTION_BYTES = 1 << 16
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: lengths of its name and extra field come last


class TensorPlace(NamedTuple):
    """Where the values of a tensor are.

    Attributes:
        start: First byte in the file.
        shape: Of the tensor, stored row by row.
        dtype: Its data type.
        crc32: Checksum of the values; None where they are a part of what was stored.
    """

    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    crc32: int | None

    @property
    def size_bytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


class _Section(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: BinaryIO, start: int, size_bytes: int) -> None:
        self._file, self._start, self._size_bytes, self._position = file, start, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        size = max(0, min(len(view), self._size_bytes - self._position))
        self._file.seek(self._start + self._position)
        data = self._file.read(size)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


class _Storage(NamedTuple):
    dtype: torch.dtype
    key: str
    num_values: int


class _View(NamedTuple):
    storage: _Storage
    first: int
    shape: tuple[int, ...]


def find_tensor(file: BinaryIO, start: int, size_bytes: int) -> TensorPlace:
    """Find the values of the tensor that ``torch.save`` wrote into a section of a file.

    Args:
        file: Open for reading.
        start: First byte of the section.
        size_bytes: Its length.

    Raises:
        CheckpointError: The section is no archive of one contiguous tensor.
    """
    try:
        with zipfile.ZipFile(_Section(file, start, size_bytes)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            name = next(name for name in members if name.endswith("/data.pkl"))
            root = name.removesuffix("data.pkl")
            order = members.get(root + "byteorder")
            if order is not None and archive.read(_stored(order, MAX_DESCRIPTION_BYTES)) != b"little":
                raise CheckpointError("its values are stored big-endian.")
            view = _description(archive.read(_stored(members[name], MAX_DESCRIPTION_BYTES)))
            values = _stored(members[f"{root}data/{view.storage.key}"], size_bytes)
    except CheckpointError:
        raise
    except StopIteration as error:
        raise CheckpointError("is no archive of torch.save.") from error
    except (zipfile.BadZipFile, RuntimeError, OSError, ValueError, KeyError, EOFError, struct.error) as error:
        raise CheckpointError(f"is no archive of torch.save ({type(error).__name__}: {error}).") from error
    itemsize = view.storage.dtype.itemsize
    num_values, num_stored = math.prod(view.shape), values.file_size // itemsize
    if view.first < 0 or view.first + num_values > num_stored:
        raise CheckpointError(f"a tensor of shape {view.shape} reaches beyond its {num_stored} values.")
    file.seek(start + values.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size:
        raise CheckpointError("is cut off.")
    first_byte = values.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(header))
    if first_byte + values.file_size > size_bytes:
        raise CheckpointError("its values reach beyond it.")
    whole = num_values == num_stored and values.file_size == num_values * itemsize
    place = start + first_byte + view.first * itemsize
    return TensorPlace(place, view.shape, view.storage.dtype, values.CRC if whole else None)


def _stored(info: zipfile.ZipInfo, max_bytes: int) -> zipfile.ZipInfo:
    """Return a member that is stored as it is; torch compresses none."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > max_bytes:
        raise CheckpointError(f"its member {info.filename!r} is compressed or too large.")
    return info


def _description(data: bytes) -> _View:
    names = {("torch", name): dtype for name, dtype in STORAGES.items()}
    functions = {
        ("torch._utils", "_rebuild_tensor_v2"): _view,
        ("torch._utils", "_rebuild_parameter"): lambda view, *_: view,
    }
    try:
        view = RestrictedUnpickler(
            data, extra={**names, **functions}, persistent_load=_storage, refusal="a tensor does not need"
        ).load()
    except RestrictedPickleError as error:
        raise CheckpointError(f"is not read as a tensor: {error}.") from error
    if not isinstance(view, _View):
        raise CheckpointError(f"holds a {type(view).__name__}, expected a tensor.")
    return view


def _storage(pid: Any) -> _Storage:
    kind, dtype, key, _, num_values = pid
    if kind != "storage" or not isinstance(dtype, torch.dtype) or type(key) is not str or type(num_values) is not int:
        raise RestrictedPickleError("a storage of an unknown kind")
    return _Storage(dtype, key, num_values)


def _view(storage: Any, first: Any, shape: Any, stride: Any, *_: Any) -> _View:
    sizes = (first, *shape, *stride)
    if not isinstance(storage, _Storage) or not all(type(size) is int and 0 <= size < 1 << 48 for size in sizes):
        raise RestrictedPickleError("a tensor without values")
    expected = 1
    for size, step in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and step != expected:
            raise RestrictedPickleError("a tensor that is not contiguous")
        expected *= size
    return _View(storage, first, tuple(shape))


def read_values(file: BinaryIO, start: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Read contiguous values into a new tensor.

    Raises:
        CheckpointError: The file ends before.
    """
    tensor = torch.empty(tuple(shape), dtype=dtype)
    if tensor.numel():
        view = _bytes_of(tensor)
        file.seek(start)
        if file.readinto(view) != len(view):  # type: ignore[attr-defined]  # of every buffered file
            raise CheckpointError("is cut off.")
    return tensor


def checksum(tensor: Tensor) -> int:
    """Return the CRC-32 of a contiguous tensor's bytes, as zip archives have it."""
    return zlib.crc32(_bytes_of(tensor)) if tensor.numel() else 0


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.view(-1).view(torch.uint8).numpy().data


def open_file(path: Path) -> BinaryIO:
    """Open a file of values.

    Raises:
        CheckpointError: It is missing.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be opened ({error.strerror}). The checkpoint lacks what one of its ranks wrote; was it "
            "copied whole?"
        ) from error
