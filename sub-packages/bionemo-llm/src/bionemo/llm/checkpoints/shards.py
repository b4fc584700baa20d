# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Tensor shards of many ranks, as files that any other layout can read: safetensors and JSON, no pickle.

Each rank writes one file with its tensor shards; ``index.json`` says of every whole tensor which tensor shards make it
up. Reading
needs neither Megatron nor a process group, and touches only the bytes that are asked for.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.core.files import write_json
from bionemo.llm.checkpoints.hf_directory import file_checksum, size_and_checksum, write_tensors
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.lazy_tensors import LazyTensor, LazyTensors, in_memory


SHARDS_DIR = "shards"
INDEX_FILE = "index.json"
FORMAT_VERSION = 1
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter."""

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""Offset and shape of a tensor shard in its whole tensor."""


class Piece(NamedTuple):
    """One rank's shard of a tensor.

    Attributes:
        name: Of the whole tensor.
        whole_shape: Its shape.
        offset: Where the tensor shard begins in it.
        tensor: The tensor shard.
    """

    name: str
    whole_shape: tuple[int, ...]
    offset: tuple[int, ...]
    tensor: Tensor


def write_pieces(directory: Path, rank: int, pieces: Sequence[Piece]) -> None:
    """Write one rank's tensor shards into a folder that is not visible yet."""
    file = f"rank-{rank:05d}.safetensors"
    names = [f"{piece.name}@{'_'.join(map(str, piece.offset))}" for piece in pieces]
    write_tensors(directory / file, dict(zip(names, (piece.tensor for piece in pieces), strict=True)))
    entries = [
        {
            "name": piece.name,
            "whole_shape": list(piece.whole_shape),
            "dtype": str(piece.tensor.dtype).removeprefix("torch."),
            "key": name,
            "offset": list(piece.offset),
            "shape": list(piece.tensor.shape),
        }
        for name, piece in zip(names, pieces, strict=True)
    ]
    path = directory / file
    record = {**size_and_checksum(path), "pieces": entries}
    write_json(path.with_suffix(".json"), record)


def write_index(directory: Path, world_size: int) -> None:
    """Make one index of what all ranks have written; called by one of them when all are done.

    Raises:
        CheckpointError: A rank's file is missing, or the tensor shards of a tensor do not make it up.
    """
    tensors: dict[str, dict[str, Any]] = {}
    files: dict[str, dict[str, Any]] = {}
    for rank in range(world_size):
        file = f"rank-{rank:05d}.safetensors"
        path = (directory / file).with_suffix(".json")
        record = read_json(path)
        files[file] = {"size_bytes": record["size_bytes"], "crc32": record["crc32"]}
        for entry in record["pieces"]:
            whole = {"shape": entry["whole_shape"], "dtype": entry["dtype"]}
            known = tensors.setdefault(entry["name"], {**whole, "pieces": []})
            if {name: known[name] for name in whole} != whole:
                raise CheckpointError(f"{directory}: ranks disagree about {entry['name']}: {whole} on rank {rank}.")
            known["pieces"].append({"file": file, **{name: entry[name] for name in ("key", "offset", "shape")}})
        path.unlink()
    for name, whole in tensors.items():
        covered = sum(math.prod(piece["shape"]) for piece in whole["pieces"])
        if covered != math.prod(whole["shape"]):
            raise CheckpointError(
                f"{directory}: the pieces of {name} have {covered} values, the whole {math.prod(whole['shape'])}."
            )
    write_json(directory / INDEX_FILE, {"format": FORMAT_VERSION, "files": files, "tensors": tensors})


class ShardReader:
    """Reads tensors, or parts of them, from the files of all ranks.

    Args:
        directory: The folder of the shards.

    Raises:
        CheckpointError: The index is missing or damaged, or a file is missing or truncated; the message names it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        index = read_json(directory / INDEX_FILE)
        if index.get("format") != FORMAT_VERSION:
            raise CheckpointError(
                f"{directory / INDEX_FILE}: format {index.get('format')}, expected {FORMAT_VERSION}."
            )
        self._files: dict[str, dict[str, Any]] = index["files"]
        self._tensors: dict[str, dict[str, Any]] = index["tensors"]
        self._open: dict[str, Any] = {}
        for name, record in self._files.items():
            path = directory / name
            if not path.is_file():
                raise CheckpointError(
                    f"{path}: no such file. The checkpoint lacks what one of its {len(self._files)} ranks wrote; "
                    "was it copied whole?"
                )
            if path.stat().st_size != record["size_bytes"]:
                raise CheckpointError(
                    f"{path}: {path.stat().st_size} bytes, {record['size_bytes']} were written: truncated. "
                    "Use another checkpoint."
                )

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """Size in bytes and checksum of each rank's file, by its name."""
        return self._files

    @property
    def names(self) -> list[str]:
        """Names of all tensors."""
        return sorted(self._tensors)

    def verify(self) -> None:
        """Read every file and compare its checksum.

        Raises:
            CheckpointError: A file is damaged.
        """
        for name, record in self._files.items():
            if (checksum := file_checksum(self.directory / name)) != record["crc32"]:
                raise CheckpointError(
                    f"{self.directory / name}: checksum {checksum}, {record['crc32']} was written: damaged. "
                    "Use another checkpoint."
                )

    def has(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a whole tensor.

        Raises:
            CheckpointError: There is no such tensor.
        """
        if name not in self._tensors:
            raise CheckpointError(f"{self.directory}: lacks {name}. The checkpoint is of another model or optimizer.")
        return tuple(self._tensors[name]["shape"])

    def read(self, name: str, offset: Sequence[int] | None = None, shape: Sequence[int] | None = None) -> Tensor:
        """Read a tensor, or a box of it.

        Args:
            name: Of the whole tensor.
            offset: Where the box begins; None: at the origin.
            shape: Of the box; None: the whole. What reaches beyond the tensor stays zero.

        Raises:
            CheckpointError: There is no such tensor, or its file is damaged.
        """
        whole = self.shape(name)
        entry = self._tensors[name]
        wanted: Box = (tuple(offset or (0,) * len(whole)), tuple(whole if shape is None else shape))
        result = torch.zeros(wanted[1], dtype=getattr(torch, entry["dtype"]))
        for piece in entry["pieces"]:
            common = overlap(wanted, (tuple(piece["offset"]), tuple(piece["shape"])))
            if common is None:
                continue
            into, source = common
            result[into] = self._slice(piece["file"], piece["key"], source)
        return result

    def lazy(self, name: str) -> LazyTensor:
        """Return a tensor that is read when it is asked for; rows beyond its last are zero.

        Raises:
            CheckpointError: There is no such tensor.
        """
        shape = self.shape(name)

        def read_rows(start: int, stop: int) -> Tensor:
            return self.read(name, (start, *(0 for _ in shape[1:])), (stop - start, *shape[1:]))

        return LazyTensor(shape, lambda: self.read(name), read_rows)

    def _slice(self, file: str, key: str, source: tuple[slice, ...]) -> Tensor:
        path = self.directory / file
        try:
            if file not in self._open:
                self._open[file] = safe_open(path, framework="pt")
            part: Tensor = self._open[file].get_slice(key)[source]
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{path}: cannot be read as safetensors ({error}). Use another checkpoint."
            ) from error
        return part


def overlap(wanted: Box, piece: Box) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """Where a wanted box and a tensor shard meet: slices in the wanted box and in the tensor shard, or None."""
    into, source = [], []
    for (first, size), (piece_first, piece_size) in zip(_axes(wanted), _axes(piece), strict=True):
        begin, end = max(first, piece_first), min(first + size, piece_first + piece_size)
        if begin >= end:
            return None
        into.append(slice(begin - first, end - first))
        source.append(slice(begin - piece_first, end - piece_first))
    return tuple(into), tuple(source)


def _axes(box: Box) -> Iterator[tuple[int, int]]:
    return zip(*box, strict=True)


def is_optimizer(name: str) -> bool:
    """Whether a tensor belongs to the optimizer rather than the model."""
    return name.startswith("optimizer.")


def weights_in(reader: ShardReader) -> LazyTensors:
    """Return the weights, each in the most exact copy that there is, read when they are asked for."""
    masters = moment_names(reader.names, "fp32_param")
    names = [name for name in reader.names if not is_optimizer(name)]
    return LazyTensors({name: reader.lazy(masters.get(name, name)) for name in names})


def moments_in(reader: ShardReader, step: int) -> LazyTensors:
    """Return AdamW's state under the names of ``optimizer.safetensors``, read when it is asked for.

    Args:
        reader: The shards.
        step: Optimizer steps done.
    """
    entries: dict[str, LazyTensor] = {}
    for moment in MOMENTS:
        for parameter, name in moment_names(reader.names, moment).items():
            entries[f"{moment}.{parameter}"] = reader.lazy(name)
            entries[f"step.{parameter}"] = in_memory(torch.tensor(float(step)))
    return LazyTensors(entries)


def moment_names(names: Iterable[str], moment: str) -> dict[str, str]:
    """Map parameter names to the names of one of their moments, such as ``exp_avg``."""
    prefix = f"optimizer.state.{moment}."
    return {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
