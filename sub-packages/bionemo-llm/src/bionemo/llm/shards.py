# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the sharded tensors of a megatron run as whole ones, with torch alone: no NeMo, no Megatron, no process group.

torch keeps the description of such a checkpoint as a pickle. It is read from the engine's own run folder only, and by
an unpickler that knows the few classes of that description and nothing else.
"""

import importlib
import io
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoint import HuggingFaceLayout


SHARDS_DIR = "shards"
METADATA_FILE = ".metadata"

_ALLOWED_MODULES = (
    "torch.distributed.checkpoint.metadata",
    "torch.distributed.checkpoint.filesystem",
    "torch.distributed.checkpoint._extension",
    "torch.distributed._shard.sharded_tensor.metadata",
    "torch.distributed.checkpoint.planner",
)
_ALLOWED_NAMES = {
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("torch._utils", "_rebuild_device"),
    ("collections", "OrderedDict"),
    ("pathlib", "PosixPath"),
    ("builtins", "set"),
    ("builtins", "getattr"),
}
_DTYPES = {str(dtype).partition(".")[2] for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}


class _DescriptionUnpickler(pickle.Unpickler):
    """Knows the classes of a checkpoint's description, and nothing that could do something."""

    def find_class(self, module: str, name: str) -> Any:
        """Give a class by its name, or refuse it."""
        is_plain = "." not in name or module in _ALLOWED_MODULES
        known = (
            module in _ALLOWED_MODULES or (module, name) in _ALLOWED_NAMES or (module == "torch" and name in _DTYPES)
        )
        if known and is_plain:
            return super().find_class(module, name)
        raise CheckpointError(f"the description of the shards names {module}.{name}, which does not belong there.")


class ShardReader(FileSystemReader):
    """torch's reader of sharded tensors, with a description that cannot run anything."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Read what the shards hold.

        Raises:
            CheckpointError: It is missing or no such description.
        """
        path = Path(self.path) / METADATA_FILE
        try:
            description = _DescriptionUnpickler(io.BytesIO(path.read_bytes())).load()
        except FileNotFoundError as error:
            raise CheckpointError(f"{path}: no such file. The checkpoint is incomplete; use another one.") from error
        except (pickle.UnpicklingError, EOFError, AttributeError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path}: damaged ({error}). Use another checkpoint.") from error
        if not isinstance(description, Metadata):
            raise CheckpointError(f"{path}: not the description of sharded tensors.")
        return description


def check_shards(directory: Path) -> Metadata:
    """Refuse shards of which a file is missing or too short.

    Raises:
        CheckpointError: The message names the file.
    """
    description = ShardReader(directory).read_metadata()
    needed: dict[str, int] = {}
    for place in (description.storage_data or {}).values():
        needed[place.relative_path] = max(needed.get(place.relative_path, 0), place.offset + place.length)
    for name, size_bytes in sorted(needed.items()):
        path = directory / name
        if not path.is_file():
            raise CheckpointError(
                f"{path}: no such file. The checkpoint lacks a shard that another rank wrote; was it copied whole?"
            )
        if path.stat().st_size < size_bytes:
            raise CheckpointError(
                f"{path}: {path.stat().st_size} bytes, {size_bytes} were written: truncated. Use another checkpoint."
            )
    return description


def read_whole_tensors(directory: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
    """Read tensors of a sharded checkpoint as whole ones.

    Args:
        directory: The folder of the shards.
        wanted: Which names.

    Raises:
        CheckpointError: A shard is missing or damaged.
    """
    description = check_shards(directory)
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in description.state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata) and wanted(name)
    }
    try:
        dcp.load(tensors, storage_reader=ShardReader(directory), no_dist=True)
    except (RuntimeError, OSError, ValueError, dcp.api.CheckpointException) as error:
        raise CheckpointError(f"{directory}: a shard cannot be read ({error}).") from error
    return tensors


def layout_name(layout: HuggingFaceLayout[Any]) -> str:
    """Name a layout's class for the record."""
    return f"{type(layout).__module__}:{type(layout).__qualname__}"


def find_layout(name: str) -> HuggingFaceLayout[Any]:
    """Find a layout by its recorded name.

    Raises:
        CheckpointError: It is not one of ours, or its package is not installed.
    """
    module, _, attribute = name.partition(":")
    if not module.startswith("bionemo.") or not attribute.isidentifier():
        raise CheckpointError(f"{name}: not the name of a checkpoint layout of a BioNeMo package.")
    try:
        layout: HuggingFaceLayout[Any] = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        package = "-".join(module.split(".")[:2])
        raise CheckpointError(f"{name}: cannot be imported ({error}). Install {package}.") from error
    return layout


def moments_and_weights(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Tell the optimizer's tensors from the model's by their names."""
    listed = sorted(names)
    moments = [name for name in listed if name.startswith("optimizer.state.")]
    return moments, [name for name in listed if not name.startswith("optimizer.")]
