# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Weights as transformers saves them: safetensors or ``pytorch_model.bin``, in one file or in the shards of an index.

Pickled files are read with torch's weights-only reader, which executes nothing. Tensors are read from the mapped file
when they are asked for; the mapping is renewed every ``MAPPED_BYTES``, so that pages that were copied do not stay
resident.
"""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.lazy_tensors import LazyTensor, LazyTensors


WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX_FILE = "model.safetensors.index.json"
PICKLED_WEIGHTS_FILE = "pytorch_model.bin"
PICKLED_WEIGHTS_INDEX_FILE = "pytorch_model.bin.index.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
ADAPTER_CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILES = (WEIGHTS_FILE, WEIGHTS_INDEX_FILE, PICKLED_WEIGHTS_FILE, PICKLED_WEIGHTS_INDEX_FILE)
"""In the order of preference."""
MAPPED_BYTES = 64 << 20
"""Bytes read from a mapped file before its mapping is renewed."""


class TensorFile(Protocol):
    """One open file of tensors."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name to shape of all tensors."""

    def read(self, name: str) -> Tensor:
        """Return one tensor, backed by the mapped file."""


class SafetensorsFile:
    """A safetensors file, mapped into memory."""

    def __init__(self, path: Path) -> None:
        self._file = safe_open(path, framework="pt")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name to shape of all tensors."""
        return {name: tuple(self._file.get_slice(name).get_shape()) for name in self._file.keys()}

    def read(self, name: str) -> Tensor:
        """Return one tensor, backed by the mapped file."""
        tensor: Tensor = self._file.get_tensor(name)
        return tensor


class PickledFile:
    """A file of ``torch.save``, read by torch's weights-only reader and mapped into memory where it is a zip file."""

    def __init__(self, path: Path) -> None:
        self._tensors = tensors_of_pickle(path, load_pickle(path))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name to shape of all tensors."""
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def read(self, name: str) -> Tensor:
        """Return one tensor, backed by the mapped file."""
        return self._tensors[name]


class MappedFiles:
    """The weight files of one model, one of them open at a time.

    Args:
        open_file: Opens a file.
    """

    def __init__(self, open_file: type[SafetensorsFile] | type[PickledFile]) -> None:
        self._open_file = open_file
        self._path: Path | None = None
        self._file: TensorFile | None = None
        self._mapped_bytes = 0

    def lazy_tensors(self, path: Path) -> LazyTensors:
        """Return the tensors of one file, each read when it is asked for.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        shapes = self._open(path).shapes()
        return LazyTensors({name: self._lazy(path, name, shape) for name, shape in shapes.items()})

    def _lazy(self, path: Path, name: str, shape: tuple[int, ...]) -> LazyTensor:
        return LazyTensor(shape, lambda: self._read(path, name))

    def _read(self, path: Path, name: str) -> Tensor:
        try:
            tensor = self._open(path).read(name)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path}: {name} cannot be read ({one_line(error)}).") from error
        self._mapped_bytes += tensor.nbytes
        return tensor

    def _open(self, path: Path) -> TensorFile:
        if self._file is not None and self._path == path and self._mapped_bytes < MAPPED_BYTES:
            return self._file
        self._file = None  # unmaps it, unless a tensor of it is still in use
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file. The checkpoint is incomplete.")
        try:
            self._file = self._open_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            kind = "safetensors" if self._open_file is SafetensorsFile else "weights"
            raise CheckpointError(f"{path}: cannot be read as {kind} ({one_line(error)}).") from error
        self._path, self._mapped_bytes = path, 0
        return self._file


def open_weights(directory: Path) -> LazyTensors:
    """Open a model's tensors, from one file or from the shards that an index names.

    Args:
        directory: Folder of a checkpoint.

    Returns:
        The tensors, read when they are asked for.

    Raises:
        CheckpointError: There are no weights, or a file is missing, damaged or no weights file.
    """
    for name in WEIGHTS_FILES:
        path = directory / name
        if not path.exists():
            continue
        files = MappedFiles(SafetensorsFile if ".safetensors" in name else PickledFile)
        if not name.endswith(".json"):
            return files.lazy_tensors(path)
        return _open_shards(directory, path, files)
    if any((directory / name).exists() for name in ADAPTER_FILES):
        base = read_json(directory / ADAPTER_CONFIG_FILE).get("base_model_name_or_path")
        raise CheckpointError(
            f"{directory}: is a PEFT adapter of {base!r}, not a whole model. Merge it into its base model with "
            "peft (merge_and_unload) and save the result."
        )
    raise CheckpointError(f"{directory / WEIGHTS_FILE}: no such file. Expected a checkpoint in Hugging Face layout.")


def _open_shards(directory: Path, index_path: Path, files: MappedFiles) -> LazyTensors:
    shard_of = read_weight_map(index_path)
    entries: dict[str, LazyTensor] = {}
    for shard in sorted(set(shard_of.values())):
        entries |= files.lazy_tensors(directory / shard).entries
    if lost := sorted(shard_of.keys() - entries.keys()):
        raise CheckpointError(
            f"{index_path}: names {lost[0]} in {shard_of[lost[0]]}, which does not hold it. The shards are of "
            "different checkpoints."
        )
    return LazyTensors(entries)


def read_weight_map(path: Path) -> dict[str, str]:
    """Read which shard holds each tensor.

    Raises:
        CheckpointError: The index is damaged, or names a file outside the folder of the checkpoint.
    """
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path}: holds no weight_map, expected an object of tensor names and file names.")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not is_plain_file_name(shard):
            raise CheckpointError(f"{path}: weight_map says {name}: {shard!r}, expected a file of the same folder.")
    return weight_map


def is_plain_file_name(name: str) -> bool:
    """Return whether a name stays in the folder where it is looked up."""
    return bool(name) and name not in (".", "..") and not set(name) & {"/", "\\", "\0"}


def load_pickle(path: Path) -> Any:
    """Load a file of ``torch.save`` with the weights-only reader; nothing that the file names is executed.

    Raises:
        CheckpointError: It is damaged, or asks for a class that is not allowed.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        reason = one_line(error)
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values, which is not loaded ({reason})."
        ) from error
    except (RuntimeError, EOFError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as torch weights ({one_line(error)}).") from error


def tensors_of_pickle(path: Path, content: Any) -> dict[str, Tensor]:
    """Return a pickled state dict, also one under ``state_dict`` or ``model``.

    Raises:
        CheckpointError: It is no state dict.
    """
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(is_named_tensor(item) for item in content.items()):
        raise CheckpointError(f"{path}: holds no state dict, expected names and tensors.")
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def is_named_tensor(item: tuple[Any, Any]) -> bool:
    """Return whether an entry belongs into a state dict; Transformer Engine's ``_extra_state`` may be anything."""
    name, value = item
    return isinstance(name, str) and (isinstance(value, Tensor) or name.endswith("_extra_state"))


def one_line(error: BaseException) -> str:
    """Return the first sentence of an error, at most 160 characters."""
    lines: Iterator[str] = (line.strip() for line in str(error).splitlines())
    text = next((line for line in lines if line), type(error).__name__)
    return text if len(text) <= 160 else text[:157] + "..."
