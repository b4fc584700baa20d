# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The ``.metadata`` file of ``torch.distributed.checkpoint``: which file holds which part of which tensor.

It is a pickle of classes of torch and Megatron-core. Objects without behavior stand in for them, so that it is read
without Megatron-core, by any release of torch, and nothing that it names is executed.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bionemo.core.errors import CheckpointError
from bionemo.core.restricted_pickle import Pending, RestrictedPickleError, read_pickle
from bionemo.llm.checkpoints.weight_files import is_plain_file_name


METADATA_FILE = ".metadata"
STAND_IN_MODULES = ("torch.distributed.", "megatron.core.", "pathlib")
"""Modules whose classes appear in the file; ``torch.distributed._shard`` has some of them up to torch 2.3."""
FORGOTTEN = (("torch.serialization", "_get_layout"), ("builtins", "getattr"))
"""Functions whose results do not matter: memory layouts, and members of enumerations as Python 3.11.0 pickles them."""
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


class StoredPart(NamedTuple):
    """A box of a tensor, and where its bytes are.

    Attributes:
        offset: Of the box in the whole tensor.
        shape: Of the box.
        file: Name in the same folder.
        start: Of the archive that ``torch.save`` wrote, in bytes from the beginning of the file.
        size_bytes: Of the archive.
    """

    offset: tuple[int, ...]
    shape: tuple[int, ...]
    file: str
    start: int
    size_bytes: int


class StoredTensor(NamedTuple):
    """A whole tensor in the files of all ranks."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    parts: tuple[StoredPart, ...]


def read_metadata(path: Path) -> dict[str, StoredTensor]:
    """Read where the tensors of a checkpoint are; entries that are no tensors are left out.

    Args:
        path: The file ``.metadata``.

    Raises:
        CheckpointError: It is missing or damaged, asks for code, or its parts do not make up a tensor.
    """
    try:
        content = read_pickle(
            path, extra=_stand_in, what="metadata file of torch.distributed", refusal="no such file needs"
        )
    except RestrictedPickleError as error:
        raise CheckpointError(str(error)) from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        return _tensors(content)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


class _Object(NamedTuple):
    """An object of the pickle: the name of its class and its attributes."""

    kind: str
    values: Mapping[str, Any]


class _Key(NamedTuple):
    """Names a part: tensor and offset."""

    name: str
    offset: tuple[int, ...] | None


class _Pending(Pending):
    """An object whose attributes follow."""

    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def build(self, state: Any) -> Any:
        if self._kind == "TensorProperties":
            return state[0] if type(state) is tuple else state["dtype"]
        values = {str(name): value for name, value in state.items()}
        if self._kind == "MetadataIndex":
            offset = values.get("offset")
            return _Key(str(values["fqn"]), None if offset is None else _shape(offset))
        return _Object(self._kind, values)


def _stand_in(module: str, name: str) -> Any:
    """Return what takes the place of a class; see `bionemo.core.restricted_pickle.RestrictedUnpickler`."""
    if (module, name) == ("torch", "Size"):
        return _shape
    if module == "torch" and name in DTYPES:
        return getattr(torch, name)
    if (module, name) in FORGOTTEN:
        return _forgotten
    return _object_of(name) if module.startswith(STAND_IN_MODULES) else None


def _object_of(name: str) -> Callable[..., Any]:
    if name == "BytesStorageMetadata":
        return _forgotten

    def build(*arguments: Any) -> Any:
        return None if arguments else _Pending(name)  # members of enumerations and paths carry their value

    return build


def _forgotten(*_: Any) -> None:
    """Stand for an object whose content does not matter."""


def _shape(values: Any = ()) -> tuple[int, ...]:
    if type(values) not in (tuple, list) or not all(type(size) is int and 0 <= size < 1 << 48 for size in values):
        raise RestrictedPickleError("a shape or offset that is none")
    return tuple(values)


def _tensors(content: Any) -> dict[str, StoredTensor]:
    if not isinstance(content, _Object):
        raise CheckpointError(f"holds a {type(content).__name__}, expected the metadata of a checkpoint.")
    tensors, places = content.values.get("state_dict_metadata"), content.values.get("storage_data")
    if not isinstance(tensors, dict) or not isinstance(places, dict):
        raise CheckpointError("names no tensors and files, expected the metadata of a checkpoint.")
    found = {}
    for name, entry in tensors.items():
        if isinstance(entry, _Object) and entry.kind == "TensorStorageMetadata":
            found[str(name)] = _tensor(str(name), entry.values, places)
    return found


def _tensor(name: str, values: Mapping[str, Any], places: Mapping[Any, Any]) -> StoredTensor:
    shape, dtype, chunks = values.get("size"), values.get("properties"), values.get("chunks")
    if type(shape) is not tuple or not isinstance(dtype, torch.dtype) or not isinstance(chunks, list):
        raise CheckpointError(f"does not say shape, data type and parts of {name}.")
    parts = [_part(name, chunk, shape, places) for chunk in chunks]
    stored = sum(math.prod(part.shape) for part in parts)
    if stored != math.prod(shape) or len({part.offset for part in parts}) != len(parts):
        raise CheckpointError(f"the parts of {name} have {stored} values, the whole {math.prod(shape)}.")
    return StoredTensor(shape, dtype, tuple(parts))


def _part(name: str, chunk: Any, whole: tuple[int, ...], places: Mapping[Any, Any]) -> StoredPart:
    values = chunk.values if isinstance(chunk, _Object) else {}
    offset, shape = values.get("offsets"), values.get("sizes")
    if type(offset) is not tuple or type(shape) is not tuple or not len(offset) == len(shape) == len(whole):
        raise CheckpointError(f"a part of {name} has no place in it.")
    if any(first + size > end for first, size, end in zip(offset, shape, whole, strict=True)):
        raise CheckpointError(f"a part of {name} at {offset} of shape {shape} reaches beyond its shape {whole}.")
    place = places.get(_Key(name, offset))
    where = place.values if isinstance(place, _Object) else {}
    file, start, size_bytes = (where.get(key) for key in ("relative_path", "offset", "length"))
    if type(file) is not str or type(start) is not int or type(size_bytes) is not int:
        raise CheckpointError(f"does not say where the part of {name} at {offset} is.")
    if not is_plain_file_name(file) or start < 0 or size_bytes < 0:
        raise CheckpointError(f"says that {name} is in {file!r}, expected a file of the same folder.")
    if where.get("transform_descriptors"):
        raise CheckpointError(f"says that {name} is compressed or encrypted, which is not read.")
    return StoredPart(offset, shape, file, start, size_bytes)
