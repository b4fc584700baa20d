# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The header of an archive: which arrays and feature indices it holds, with their dtypes and lengths.

Layout (all integers big-endian): magic, version, endianness and backend in the first 12 bytes; then a count and as
many array descriptors, then the same for feature indices. A header without the second count has no feature indices.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bionemo.core.errors import BionemoError
from bionemo.core.files import write_bytes
from bionemo.scdl.schema.headerutil import BinaryHeaderCodec, Endianness, HeaderCursor, HeaderSerializationError
from bionemo.scdl.schema.magic import SCDL_MAGIC_NUMBER
from bionemo.scdl.schema.version import CurrentSCDLVersion, SCDLVersion
from bionemo.scdl.util.scdl_constants import ArrayDType, Backend


__all__ = [
    "ArrayDType",
    "ArrayInfo",
    "Backend",
    "FeatureIndexInfo",
    "HeaderReader",
    "SCDLHeader",
    "create_header_from_arrays",
    "merge_headers",
    "validate_header_compatibility",
]

_CODEC = BinaryHeaderCodec(Endianness.NETWORK)
_NETWORK_CODE = 1
_MAX_NAME_BYTES = 1024


@dataclass
class ArrayInfo:
    """One array of an archive.

    Attributes:
        name: Its key in :class:`FileNames`, for example ``"DATA"``.
        length: Number of elements.
        dtype: Code of the elements.
        shape: Sizes where it is not one-dimensional.
    """

    name: str
    length: int
    dtype: ArrayDType
    shape: tuple[int, ...] | None = None

    def serialize(self, codec: BinaryHeaderCodec) -> bytes:
        """The descriptor's bytes."""
        _check_descriptor("Array name", "Array length", "Shape", self.name, self.length, self.shape)
        head = codec.pack_string(self.name) + codec.pack_uint64(self.length) + codec.pack_uint32(int(self.dtype))
        return head + _pack_shape(codec, self.shape)

    @classmethod
    def deserialize(cls, codec: BinaryHeaderCodec, data: bytes, offset: int = 0) -> tuple["ArrayInfo", int]:
        """Read a descriptor; returns it and the number of bytes it took."""
        cursor = HeaderCursor(codec, data, offset)
        name, length = cursor.string(), cursor.number("uint64")
        dtype = _dtype_of(cursor.number("uint32"), "Invalid ArrayDType value")
        return cls(name, length, dtype, cursor.shape()), cursor.offset - offset

    def calculate_size(self) -> int:
        """Bytes of the descriptor."""
        return 4 + len(self.name.encode()) + 8 + 4 + _shape_size(self.shape)

    def __str__(self) -> str:
        shape = "" if self.shape is None else f", shape={self.shape}"
        return f"ArrayInfo(name='{self.name}', length={self.length}, dtype={self.dtype.name}{shape})"

    __repr__ = __str__


@dataclass
class FeatureIndexInfo:
    """One feature index of an archive.

    Attributes:
        name: ``"var_features"`` or ``"obs_features"``.
        length: Number of rows it describes.
        dtype: Code of its values.
        index_files: Its files, relative to the archive.
        shape: Unused by this package, kept for others.
    """

    name: str
    length: int
    dtype: ArrayDType
    index_files: list[str] | None = None
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        self.index_files = list(self.index_files or [])

    def serialize(self, codec: BinaryHeaderCodec) -> bytes:
        """The descriptor's bytes."""
        _check_descriptor(
            "FeatureIndex name", "FeatureIndex length", "FeatureIndex shape", self.name, self.length, self.shape
        )
        files = self.index_files or []
        for position, file in enumerate(files):
            if not file.strip():
                raise HeaderSerializationError(f"FeatureIndex file path {position} cannot be empty")
        head = codec.pack_string(self.name) + codec.pack_uint64(self.length) + codec.pack_uint32(int(self.dtype))
        names = codec.pack_uint32(len(files)) + b"".join(codec.pack_string(file) for file in files)
        return head + names + _pack_shape(codec, self.shape)

    @classmethod
    def deserialize(cls, codec: BinaryHeaderCodec, data: bytes, offset: int = 0) -> tuple["FeatureIndexInfo", int]:
        """Read a descriptor; returns it and the number of bytes it took."""
        cursor = HeaderCursor(codec, data, offset)
        name, length = cursor.string(), cursor.number("uint64")
        dtype = _dtype_of(cursor.number("uint32"), "Invalid ArrayDType value in FeatureIndex")
        files = cursor.strings()
        return cls(name, length, dtype, files, cursor.shape()), cursor.offset - offset

    def calculate_size(self) -> int:
        """Bytes of the descriptor."""
        names = sum(4 + len(file.encode()) for file in self.index_files or [])
        return 4 + len(self.name.encode()) + 8 + 4 + 4 + names + _shape_size(self.shape)

    def __str__(self) -> str:
        shape = "" if self.shape is None else f", shape={self.shape}"
        return (
            f"FeatureIndexInfo(name='{self.name}', length={self.length}, dtype={self.dtype.name}, "
            f"files={len(self.index_files or [])}{shape})"
        )

    __repr__ = __str__


class SCDLHeader:
    """Version, backend and descriptors of an archive."""

    CORE_HEADER_SIZE = 16

    def __init__(
        self,
        version: SCDLVersion | None = None,
        backend: Backend = Backend.MEMMAP_V0,
        arrays: list[ArrayInfo] | None = None,
        feature_indices: list[FeatureIndexInfo] | None = None,
    ) -> None:
        """Describe an archive; without arguments an empty one of the current version."""
        self.version = version or CurrentSCDLVersion()
        self.endianness = Endianness.NETWORK
        self.backend = backend
        self.arrays = list(arrays or [])
        self.feature_indices = list(feature_indices or [])

    def add_array(self, array_info: ArrayInfo) -> None:
        """Append an array."""
        self.arrays.append(array_info)

    def get_array(self, name: str) -> ArrayInfo | None:
        """Find an array by name."""
        return next((info for info in self.arrays if info.name == name), None)

    def remove_array(self, name: str) -> bool:
        """Remove an array; tells whether there was one."""
        return _remove(self.arrays, name)

    def add_feature_index(self, feature_index: FeatureIndexInfo) -> None:
        """Append a feature index."""
        self.feature_indices.append(feature_index)

    def get_feature_index(self, name: str) -> FeatureIndexInfo | None:
        """Find a feature index by name."""
        return next((info for info in self.feature_indices if info.name == name), None)

    def remove_feature_index(self, name: str) -> bool:
        """Remove a feature index; tells whether there was one."""
        return _remove(self.feature_indices, name)

    def validate(self) -> None:
        """Check names and version.

        Raises:
            HeaderSerializationError: An empty, duplicate or overlong name, or a greater major version.
        """
        arrays = [info.name for info in self.arrays]
        indices = [info.name for info in self.feature_indices]
        if self.version.major > CurrentSCDLVersion().major:
            raise HeaderSerializationError(f"Unsupported version: {self.version} > {CurrentSCDLVersion()}")
        for kind, names in (("array", arrays), ("feature index", indices)):
            if len(set(names)) < len(names):
                raise HeaderSerializationError(f"Duplicate {kind} names found")
            if any(not name.strip() for name in names):
                raise HeaderSerializationError(f"Empty {kind} name found")
            for name in names:
                if len(name.encode()) > _MAX_NAME_BYTES:
                    raise HeaderSerializationError(f"{kind.capitalize()} name too long: {name}")
        if set(arrays) & set(indices):
            raise HeaderSerializationError("Name conflicts between arrays and feature indices")

    def serialize(self) -> bytes:
        """The whole header as bytes."""
        try:
            self.validate()
            core = SCDL_MAGIC_NUMBER + b"".join(
                _CODEC.pack_uint8(x)
                for x in (self.version.major, self.version.minor, self.version.point, _NETWORK_CODE)
            )
            core += _CODEC.pack_uint32(int(self.backend))
            for infos in (self.arrays, self.feature_indices):
                core += _CODEC.pack_uint32(len(infos)) + b"".join(info.serialize(_CODEC) for info in infos)
        except HeaderSerializationError as error:
            raise HeaderSerializationError(f"Failed to serialize SCDL header: {error}") from error
        return core

    @classmethod
    def deserialize(cls, data: bytes) -> "SCDLHeader":
        """Read a header from bytes."""
        version, backend, array_count = _parse_core(data)
        header = cls(version=version, backend=backend)
        offset = cls.CORE_HEADER_SIZE
        for i in range(array_count):
            array, offset = _read_descriptor(ArrayInfo, data, offset, f"array {i}")
            header.arrays.append(array)
        if len(data) - offset >= 4:
            index_count = _CODEC.unpack_uint32(data[offset:])
            offset += 4
            for i in range(index_count):
                index, offset = _read_descriptor(FeatureIndexInfo, data, offset, f"feature index {i}")
                header.feature_indices.append(index)
        return header

    def save(self, file_path: str | os.PathLike[str]) -> None:
        """Write the header to a file, atomically."""
        data = self.serialize()
        if not Path(file_path).parent.is_dir():
            raise HeaderSerializationError(
                f"Failed to save header to {file_path}: the folder {Path(file_path).parent} does not exist"
            )
        try:
            write_bytes(file_path, data)
        except (OSError, BionemoError) as error:
            raise HeaderSerializationError(f"Failed to save header to {file_path}: {error}") from error

    @classmethod
    def load(cls, file_path: str | os.PathLike[str]) -> "SCDLHeader":
        """Read a header from a file."""
        path = Path(file_path)
        if not path.exists():
            raise HeaderSerializationError(f"Header file not found: {file_path}")
        try:
            return cls.deserialize(path.read_bytes())
        except (OSError, HeaderSerializationError) as error:
            raise HeaderSerializationError(f"Failed to load header from {file_path}: {error}") from error

    def calculate_total_size(self) -> int:
        """Bytes of the whole header."""
        descriptors: list[ArrayInfo | FeatureIndexInfo] = [*self.arrays, *self.feature_indices]
        return self.CORE_HEADER_SIZE + 4 + sum(info.calculate_size() for info in descriptors)

    def _to_dict(self) -> dict[str, Any]:
        def plain(info: ArrayInfo | FeatureIndexInfo) -> dict[str, Any]:
            entry: dict[str, Any] = {"name": info.name, "length": info.length, "dtype": info.dtype.name}
            if isinstance(info, FeatureIndexInfo):
                entry["index_files"] = list(info.index_files or [])
            if info.shape is not None:
                entry["shape"] = list(info.shape)
            return entry

        return {
            "version": {"major": self.version.major, "minor": self.version.minor, "point": self.version.point},
            "endianness": self.endianness.name,
            "backend": self.backend.name,
            "arrays": [plain(info) for info in self.arrays],
            "feature_indices": [plain(info) for info in self.feature_indices],
        }

    def to_json(self) -> str:
        """The header as JSON, for people."""
        return json.dumps(self._to_dict(), indent=2)

    def to_yaml(self) -> str:
        """The header as YAML, for people.

        Raises:
            RuntimeError: PyYAML is not installed.
        """
        try:
            import yaml
        except ImportError as error:
            raise RuntimeError("PyYAML is required for YAML serialization") from error
        return str(yaml.dump(self._to_dict() | {"version": str(self.version)}))

    def __str__(self) -> str:
        return (
            f"SCDLHeader(version={self.version}, backend={self.backend.name}, arrays={len(self.arrays)}, "
            f"feature_indices={len(self.feature_indices)})"
        )

    __repr__ = __str__


class HeaderReader:
    """Reads the first bytes of a header file without the rest."""

    def __init__(self, file_path: str | os.PathLike[str]) -> None:
        """Name the file; nothing is read yet."""
        self.file_path = file_path
        self._core: bytes | None = None
        self._header: SCDLHeader | None = None

    def _read_core(self) -> bytes:
        if self._core is None:
            with Path(self.file_path).open("rb") as file:
                self._core = file.read(SCDLHeader.CORE_HEADER_SIZE)
        return self._core

    def _parse(self) -> tuple[SCDLVersion, Backend, int]:
        if not self.validate_magic():
            raise HeaderSerializationError("Invalid header file")
        return _parse_core(self._read_core())

    def validate_magic(self) -> bool:
        """Whether the file is long enough and starts with the magic bytes."""
        core = self._read_core()
        return len(core) == SCDLHeader.CORE_HEADER_SIZE and core.startswith(SCDL_MAGIC_NUMBER)

    def get_version(self) -> SCDLVersion:
        """Version of the header's layout."""
        return self._parse()[0]

    def get_backend(self) -> Backend:
        """How the arrays are stored."""
        return self._parse()[1]

    def get_array_count(self) -> int:
        """Number of array descriptors."""
        return self._parse()[2]

    def get_full_header(self) -> SCDLHeader:
        """The whole header, read once."""
        if self._header is None:
            self._header = SCDLHeader.load(self.file_path)
        return self._header


def create_header_from_arrays(
    array_files: Sequence[str], backend: Backend = Backend.MEMMAP_V0, version: SCDLVersion | None = None
) -> SCDLHeader:
    """Describe files by a placeholder each: its base name, length 0, float32."""
    arrays = [ArrayInfo(Path(file).name, 0, ArrayDType.FLOAT32_ARRAY) for file in array_files]
    return SCDLHeader(version=version, backend=backend, arrays=arrays)


def validate_header_compatibility(header1: SCDLHeader, header2: SCDLHeader) -> bool:
    """Whether two headers can be merged: same major version and backend, and no name in both."""
    names = [{i.name for i in h.arrays} | {i.name for i in h.feature_indices} for h in (header1, header2)]
    same_kind = header1.version.major == header2.version.major and header1.backend == header2.backend
    return same_kind and not names[0] & names[1]


def merge_headers(header1: SCDLHeader, header2: SCDLHeader) -> SCDLHeader:
    """Join two compatible headers under the version with the greater minor number.

    Raises:
        HeaderSerializationError: They are not compatible.
    """
    if not validate_header_compatibility(header1, header2):
        raise HeaderSerializationError("Headers are not compatible for merging")
    version = max(header1.version, header2.version, key=lambda v: (v.minor, v.point))
    return SCDLHeader(
        version=version,
        backend=header1.backend,
        arrays=header1.arrays + header2.arrays,
        feature_indices=header1.feature_indices + header2.feature_indices,
    )


_Info = TypeVar("_Info", ArrayInfo, FeatureIndexInfo)


def _parse_core(data: bytes) -> tuple[SCDLVersion, Backend, int]:
    if len(data) < SCDLHeader.CORE_HEADER_SIZE:
        raise HeaderSerializationError(
            f"Header data too short: {len(data)} bytes < {SCDLHeader.CORE_HEADER_SIZE} bytes minimum"
        )
    if data[:4] != SCDL_MAGIC_NUMBER:
        raise HeaderSerializationError(f"Invalid magic number: {data[:4]!r} != {SCDL_MAGIC_NUMBER!r}")
    if data[7] != _NETWORK_CODE:
        raise HeaderSerializationError(f"Invalid endianness: {data[7]} (must be 1 for NETWORK)")
    code = _CODEC.unpack_uint32(data[8:])
    try:
        backend = Backend(code)
    except ValueError as error:
        raise HeaderSerializationError(f"Invalid backend value: {code}") from error
    return SCDLVersion(data[4], data[5], data[6]), backend, _CODEC.unpack_uint32(data[12:])


def _read_descriptor(kind: type[_Info], data: bytes, offset: int, what: str) -> tuple[_Info, int]:
    if offset >= len(data):
        raise HeaderSerializationError(f"Unexpected end of data while reading {what}")
    info, consumed = kind.deserialize(_CODEC, data, offset)
    return info, offset + consumed


def _check_descriptor(
    name_is: str, length_is: str, shape_is: str, name: str, length: int, shape: tuple[int, ...] | None
) -> None:
    if not name.strip():
        raise HeaderSerializationError(f"{name_is} cannot be empty (schema requirement)")
    if length < 0:
        raise HeaderSerializationError(f"{length_is} cannot be negative: {length}")
    if shape is not None:
        if not shape:
            raise HeaderSerializationError(f"{shape_is} cannot be empty when specified")
        for i, size in enumerate(shape):
            if size <= 0:
                raise HeaderSerializationError(f"{shape_is} dimension {i} must be positive: {size}")


def _dtype_of(code: int, message: str) -> ArrayDType:
    try:
        return ArrayDType(code)
    except ValueError as error:
        raise HeaderSerializationError(f"{message}: {code}") from error


def _pack_shape(codec: BinaryHeaderCodec, shape: tuple[int, ...] | None) -> bytes:
    if shape is None:
        return codec.pack_uint8(0)
    return codec.pack_uint8(1) + codec.pack_uint32(len(shape)) + b"".join(codec.pack_uint32(n) for n in shape)


def _shape_size(shape: tuple[int, ...] | None) -> int:
    return 1 if shape is None else 1 + 4 + 4 * len(shape)


def _remove(infos: list[_Info], name: str) -> bool:
    for position, info in enumerate(infos):
        if info.name == name:
            del infos[position]
            return True
    return False
