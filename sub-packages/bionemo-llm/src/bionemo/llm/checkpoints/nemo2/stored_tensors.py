# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors of a NeMo 2 folder, both backends: ``torch_dist``, the files of all ranks, and ``zarr``, a folder each."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol, TypeGuard

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.nemo2.dist_metadata import METADATA_FILE, StoredPart, StoredTensor, read_metadata
from bionemo.llm.checkpoints.nemo2.folder import NemoFolder
from bionemo.llm.checkpoints.nemo2.torch_archive import TensorPlace, checksum, find_tensor, open_file, read_values
from bionemo.llm.checkpoints.shards import overlap


BACKEND_FILE = "metadata.json"
ZARR_FILE = ".zarray"
ZARR_DTYPES = {
    "<f8": torch.float64,
    "<f4": torch.float32,
    "<f2": torch.float16,
    "bfloat16": torch.bfloat16,
    "<i8": torch.int64,
    "<i4": torch.int32,
    "|u1": torch.uint8,
}


class BoxTensor(Protocol):
    """A tensor of which any box can be read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole tensor."""

    def read(self, offset: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
        """Read a box, in the data type of the file; raises CheckpointError for a damaged file."""


def open_tensors(folder: NemoFolder) -> Mapping[str, BoxTensor]:
    """Open the tensors of a folder; nothing is read but their names and shapes.

    Raises:
        CheckpointError: There are none, or what describes them is damaged.
    """
    weights = folder.weights
    backend = None
    if (weights / BACKEND_FILE).is_file():
        backend = read_json(weights / BACKEND_FILE).get("sharded_backend")
    if backend not in (None, "torch_dist", "zarr"):
        raise CheckpointError(
            f"{weights / BACKEND_FILE}: says sharded_backend {backend!r}, expected 'torch_dist' or 'zarr'."
        )
    if backend == "zarr" or (backend is None and not (weights / METADATA_FILE).is_file()):
        return open_zarr(folder)
    return {name: DistTensor(folder, tensor) for name, tensor in read_metadata(weights / METADATA_FILE).items()}


class DistTensor:
    """A tensor in the files of ``torch.distributed.checkpoint``.

    Args:
        folder: Holds the files; kept alive as long as this tensor.
        stored: Where the parts are.
    """

    def __init__(self, folder: NemoFolder, stored: StoredTensor) -> None:
        self._folder, self._stored = folder, stored

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole tensor."""
        return self._stored.shape

    def read(self, offset: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
        """Read a box.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        result: Tensor | None = None
        for part in self._stored.parts:
            common = overlap((offset, shape), (part.offset, part.shape))
            if common is None:
                continue
            into, source = common
            values = self._read_part(part, source)
            if values.shape == shape:
                return values
            if result is None:
                result = torch.zeros(shape, dtype=self._stored.dtype)
            result[into] = values
        return torch.zeros(shape, dtype=self._stored.dtype) if result is None else result

    def _read_part(self, part: StoredPart, box: tuple[slice, ...]) -> Tensor:
        path = self._folder.weights / part.file
        with open_file(path) as file:
            try:
                place = find_tensor(file, part.start, part.size_bytes)
                if place.dtype != self._stored.dtype or math.prod(place.shape) != math.prod(part.shape):
                    raise CheckpointError(
                        f"holds {place.dtype} of shape {place.shape}, {METADATA_FILE} says {self._stored.dtype} of "
                        f"shape {part.shape}."
                    )
                return _read_box(file, place, part.shape, box)
            except CheckpointError as error:
                raise CheckpointError(f"{path}: the archive at byte {part.start}: {error}") from error


def _read_box(file: BinaryIO, place: TensorPlace, shape: tuple[int, ...], box: tuple[slice, ...]) -> Tensor:
    """Read a box of a stored tensor: of a few whole rows, such as one layer of all, nothing but their bytes."""
    whole = tuple(slice(0, size) for size in shape)
    if box != whole and box[1:] == whole[1:]:
        first, num_rows = box[0].start, box[0].stop - box[0].start
        skipped_bytes = first * math.prod(shape[1:]) * place.dtype.itemsize
        return read_values(file, place.start + skipped_bytes, (num_rows, *shape[1:]), place.dtype)
    values = read_values(file, place.start, shape, place.dtype)
    if place.crc32 is not None and checksum(values) != place.crc32:
        raise CheckpointError("has another checksum: damaged.")
    return values[box]


class ZarrTensor:
    """A tensor in a folder of the zarr format 2, not compressed.

    Args:
        folder: Holds it; kept alive as long as this tensor.
        directory: Of this tensor.

    Raises:
        CheckpointError: Its description is damaged or asks for something that Megatron does not write, or a chunk is
            missing.
    """

    def __init__(self, folder: NemoFolder, directory: Path) -> None:
        self._folder, self._directory = folder, directory
        path = directory / ZARR_FILE
        values = read_json(path)
        shape, chunks = values.get("shape"), values.get("chunks")
        if (
            values.get("zarr_format") != 2
            or values.get("order", "C") != "C"
            or values.get("filters")
            or values.get("compressor")
        ):
            raise CheckpointError(f"{path}: expected an array of zarr format 2, row by row and not compressed.")
        if not isinstance(values.get("dtype"), str) or values["dtype"] not in ZARR_DTYPES:
            raise CheckpointError(f"{path}: says dtype {values.get('dtype')!r:.60}, expected one of {[*ZARR_DTYPES]}.")
        if not is_shape(shape, 0) or not is_shape(chunks, 1) or len(shape) != len(chunks):
            raise CheckpointError(f"{path}: says shape {shape!r:.60} and chunks {chunks!r:.60}.")
        self.shape, self._chunks = tuple(shape), tuple(chunks)
        self._dtype = ZARR_DTYPES[values["dtype"]]
        self._separator = "/" if values.get("dimension_separator") == "/" else "."
        self._check_chunks()

    def _check_chunks(self) -> None:
        num_files = sum(1 for file in self._directory.rglob("*") if file.is_file()) - 1
        num_chunks = math.prod(-(-size // chunk) for size, chunk in zip(self.shape, self._chunks, strict=True))
        if num_files < num_chunks:
            raise CheckpointError(f"{self._directory}: has {num_files} chunks, expected {num_chunks}.")

    def read(self, offset: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
        """Read a box.

        Raises:
            CheckpointError: A chunk is missing or truncated.
        """
        result = torch.empty(shape, dtype=self._dtype)
        ranges = [
            range(first // chunk, -(-(first + size) // chunk))
            for first, size, chunk in zip(offset, shape, self._chunks, strict=True)
        ]
        for index in itertools.product(*ranges):
            corner = tuple(position * chunk for position, chunk in zip(index, self._chunks, strict=True))
            common = overlap((offset, shape), (corner, self._chunks))
            if common is not None:
                into, source = common
                result[into] = self._read_chunk(index)[source]
        return result

    def _read_chunk(self, index: tuple[int, ...]) -> Tensor:
        path = self._directory / (self._separator.join(map(str, index)) or "0")
        with open_file(path) as file:
            size_bytes, expected = path.stat().st_size, math.prod(self._chunks) * self._dtype.itemsize
            if size_bytes != expected:
                raise CheckpointError(f"{path}: {size_bytes} bytes, expected {expected} of a chunk.")
            return read_values(file, 0, self._chunks, self._dtype)


def is_shape(values: object, smallest: int) -> TypeGuard[list[int]]:
    """Return whether a value from JSON is a list of sizes."""
    return isinstance(values, list) and all(type(size) is int and smallest <= size < 1 << 48 for size in values)


def open_zarr(folder: NemoFolder) -> dict[str, ZarrTensor]:
    """Open every array of a folder, but for those of the optimizer.

    Raises:
        CheckpointError: There is none, or one is damaged.
    """
    arrays = sorted(path.parent for path in folder.weights.glob(f"*/{ZARR_FILE}"))
    if not arrays:
        raise CheckpointError(f"{folder.weights}: holds neither {METADATA_FILE} nor arrays of zarr.")
    return {
        path.name: ZarrTensor(folder, path) for path in arrays if not path.name.startswith(("optimizer", "chained_"))
    }
