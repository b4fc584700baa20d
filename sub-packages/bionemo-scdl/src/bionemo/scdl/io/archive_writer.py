# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Writing an archive: its arrays grow block by block, its header and checksums come last.

The folder written into is a temporary one of :func:`bionemo.core.files.atomic_directory`; nothing here has to care
about being interrupted. Each array has its own writing thread, so that reading, converting and writing overlap.
"""

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np

from bionemo.scdl.index.row_feature_index import ObservedFeatureIndex, VariableFeatureIndex, package_version
from bionemo.scdl.io.layout import MAIN_ARRAYS, NEIGHBOR_ARRAYS
from bionemo.scdl.schema.header import ArrayInfo, FeatureIndexInfo, SCDLHeader
from bionemo.scdl.util.memmap_utils import smallest_uint_dtype
from bionemo.scdl.util.scdl_constants import ArrayDType, FileNames


CHECKSUMS = "checksums.json"
_SYNC_BYTES = 128 * 2**20
_READ_BYTES = 8 * 2**20


class RawArrayWriter:
    """One raw array file that grows by blocks, with a running checksum."""

    def __init__(self, path: Path, dtype: str) -> None:
        """Open the file.

        Args:
            path: Where to.
            dtype: Of the items; blocks are converted to it.
        """
        self.path, self.dtype = path, np.dtype(dtype)
        self.length, self.crc32, self._unsynced = 0, 0, 0
        self._file = path.open("wb", buffering=0)
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def append(self, block: np.ndarray) -> None:
        """Write a block in the background; it must not be changed afterwards."""
        block = np.ascontiguousarray(block, dtype=self.dtype.newbyteorder("<"))
        self._wait()
        self.length += block.size
        self._pending = self._thread.submit(self._write, block)

    def _write(self, block: np.ndarray) -> None:
        view = block.view(np.uint8).data if block.size else memoryview(b"")
        self.crc32 = zlib.crc32(view, self.crc32)
        while view:
            view = view[self._file.write(view) :]
        # Started early, the disk works while the next blocks are converted.
        self._unsynced += block.nbytes
        if self._unsynced >= _SYNC_BYTES:
            os.fdatasync(self._file.fileno())
            self._unsynced = 0

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def close(self) -> None:
        """Finish what is being written."""
        try:
            self._wait()
        finally:
            self._thread.shutdown()
            self._file.close()


class ArchiveWriter:
    """Writes values, columns and row lengths block by block, then everything else of an archive."""

    def __init__(self, folder: Path, *, data_dtype: str, col_dtype: str) -> None:
        """Start an archive in an empty folder.

        Args:
            folder: Where to.
            data_dtype: Dtype of the values.
            col_dtype: Dtype of the column numbers.
        """
        self.folder = folder
        self._data = RawArrayWriter(folder / FileNames.DATA.value, data_dtype)
        self._columns = RawArrayWriter(folder / FileNames.COLPTR.value, col_dtype)
        self._row_lengths: list[np.ndarray] = []
        self._neighbors: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.ExitStack() as both:  # the second is closed where the first fails too
            for array in (self._columns, self._data):
                both.callback(array.close)

    def append(self, values: np.ndarray, columns: np.ndarray) -> None:
        """Write stored values and their columns; the row lengths are given apart."""
        self._data.append(values)
        self._columns.append(columns)

    def append_row_lengths(self, lengths: np.ndarray) -> None:
        """Add rows with these numbers of stored values."""
        self._row_lengths.append(
            np.asarray(lengths, dtype=np.uint32 if not len(lengths) or lengths.max() < 2**32 else np.uint64)
        )

    def set_neighbors(self, indptr: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> None:
        """Add a neighbor graph in CSR form, over all rows of the archive."""
        self._neighbors = (indices, indptr, weights)

    def finish(self, var_index: VariableFeatureIndex, obs_index: ObservedFeatureIndex, **extra_json: Any) -> None:
        """Write row pointers, indices, header, metadata and checksums.

        Args:
            var_index: Features of the columns.
            obs_index: Features of the rows.
            **extra_json: Further files, by stem, whose content is an object for JSON.
        """
        arrays = [self._data, self._columns]
        for array in arrays:
            array.close()
        pointers = RawArrayWriter(self.folder / FileNames.ROWPTR.value, smallest_uint_dtype(self._data.length))
        for part in _pointers_of(self._row_lengths):
            pointers.append(part)
        arrays.insert(1, pointers)
        if self._neighbors is not None:
            dtypes = ("uint32", "uint64", "float32")
            for name, values, dtype in zip(NEIGHBOR_ARRAYS, self._neighbors, dtypes, strict=True):
                arrays.append(RawArrayWriter(self.folder / name.value, dtype))
                arrays[-1].append(values)
        for array in arrays:
            array.close()
        num_rows = var_index.number_of_rows()
        infos = [(FileNames(array.path.name), array.length, array.dtype.name) for array in arrays]
        write_about(self.folder, infos, var_index, obs_index, num_rows=num_rows)
        for stem, content in extra_json.items():
            (self.folder / f"{stem}.json").write_text(json.dumps(content), encoding="utf-8")
        write_checksums(self.folder, {array.path.name: array.crc32 for array in arrays})


def write_about(
    folder: Path,
    arrays: Iterable[tuple[FileNames, int, str]],
    var_index: VariableFeatureIndex,
    obs_index: ObservedFeatureIndex,
    *,
    num_rows: int,
) -> None:
    """Write everything of an archive that is no array: indices, header, metadata and version.

    Args:
        folder: The archive; its feature folders must be absent or empty.
        arrays: Name, length and dtype of each array.
        var_index: Features of the columns.
        obs_index: Features of the rows.
        num_rows: For ``metadata.json``.
    """
    header = SCDLHeader()
    for name, length, dtype in arrays:
        header.add_array(ArrayInfo(name.name, length, ArrayDType.from_numpy_dtype(dtype)))
    indices = ((FileNames.VAR_FEATURES.value, var_index), (FileNames.OBS_FEATURES.value, obs_index))
    for index_name, index in indices:
        files = [f"{index_name}/{file}" for file in index.write_files(folder / index_name, for_old_readers=True)]
        header.add_feature_index(FeatureIndexInfo(index_name, index.number_of_rows(), ArrayDType.STRING_ARRAY, files))
    (folder / FileNames.HEADER.value).write_bytes(header.serialize())
    (folder / FileNames.METADATA.value).write_text(json.dumps({"num_rows": num_rows}), encoding="utf-8")
    (folder / FileNames.VERSION.value).write_text(json.dumps(package_version()), encoding="utf-8")


def write_checksums(folder: Path, known: dict[str, int] | None = None) -> None:
    """Record size and CRC-32 of every file of an archive, reading those that are not known."""
    known = known or {}
    files = {}
    for path in archive_files(folder):
        name = path.relative_to(folder).as_posix()
        crc32 = known[name] if name in known else file_crc32(path)
        files[name] = {"size_bytes": path.stat().st_size, "crc32": f"{crc32:08x}"}
    content = json.dumps({"algorithm": "crc32", "files": files}, indent=1)
    (folder / CHECKSUMS).write_text(content, encoding="utf-8")


def archive_files(folder: Path) -> list[Path]:
    """The files an archive is made of, without the list of checksums and without what others put beside them."""
    names = [name.value for name in (*MAIN_ARRAYS, *NEIGHBOR_ARRAYS)]
    names += [name.value for name in (FileNames.HEADER, FileNames.METADATA, FileNames.VERSION)]
    paths = [folder / name for name in names if (folder / name).is_file()]
    for index_name in (FileNames.VAR_FEATURES, FileNames.OBS_FEATURES, FileNames.FEATURES):
        if (folder / index_name.value).is_dir():
            paths += sorted(path for path in (folder / index_name.value).iterdir() if path.is_file())
    return paths


def file_crc32(path: Path) -> int:
    """CRC-32 of a file, read in blocks."""
    crc32, buffer = 0, bytearray(_READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            crc32 = zlib.crc32(memoryview(buffer)[:size], crc32)
    return crc32


def keep_other_files(source: Path, target: Path) -> None:
    """Link those files of an archive's old version that the new one does not have itself.

    Arrays that did not change and files that others keep in the folder are linked where the disk can, else copied.
    """
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            if path.name not in (FileNames.VAR_FEATURES.value, FileNames.OBS_FEATURES.value, FileNames.FEATURES.value):
                copy.mkdir(exist_ok=True)
        elif copy.parent.is_dir() and not copy.exists() and not _is_feature_file(path, source):
            try:
                os.link(path, copy)
            except OSError:
                shutil.copy2(path, copy)


def _is_feature_file(path: Path, archive: Path) -> bool:
    names = {FileNames.VAR_FEATURES.value, FileNames.OBS_FEATURES.value, FileNames.FEATURES.value, CHECKSUMS}
    return path.relative_to(archive).parts[0] in names


def _pointers_of(row_lengths: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    yield np.zeros(1, dtype=np.uint64)
    total = np.uint64(0)
    for lengths in row_lengths:
        pointers = np.cumsum(lengths, dtype=np.uint64) + total
        if pointers.size:
            total = pointers[-1]
            yield pointers
