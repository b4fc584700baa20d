# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Write a model as a NeMo 2 folder: backend ``torch_dist``, Transformer Engine's names, one file, and the context.

It holds weights and architecture, no optimizer and no ``_extra_state`` of Transformer Engine (scales of FP8).
"""

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from bionemo.core.errors import DataFileError
from bionemo.core.files import write_bytes, write_json
from bionemo.core.progress import progress_bar
from bionemo.llm.checkpoints.nemo2.dist_metadata import METADATA_FILE
from bionemo.llm.checkpoints.nemo2.folder import CONTEXT_DIR, CONTEXT_FILE, WEIGHTS_DIR
from bionemo.llm.checkpoints.nemo2.names import LAYERS, WRAPPER, transformer_engine_name
from bionemo.llm.checkpoints.nemo2.stored_tensors import BACKEND_FILE


TENSOR_FILE = "__0_0.distcp"
COMMON_FILE = "common.pt"
_OWN_LAYER = re.compile(re.escape(LAYERS) + r"(\d+)\.(.+)")
_CONFIG = ("fiddle._src.config", "Config")
_ARGUMENTS = ("fiddle._src.config", "BuildableTraverserMetadata")


class Pyref(NamedTuple):
    """A class or function that the context names."""

    module: str
    name: str


def write_weights(folder: Path, tensors: Mapping[str, Tensor], num_layers: int) -> None:
    """Write the folder ``weights`` of a checkpoint that is not visible yet, one tensor in memory at a time.

    Args:
        folder: Of the checkpoint.
        tensors: A Megatron model's, layer by layer.
        num_layers: Layers.

    Raises:
        DataFileError: The disk is full.
    """
    weights = folder / WEIGHTS_DIR
    weights.mkdir()
    described: dict[str, TensorStorageMetadata] = {}
    places: dict[MetadataIndex, _StorageInfo] = {}
    try:
        with (weights / TENSOR_FILE).open("wb") as file:
            for name, tensor in progress_bar(tensors.items(), len(tensors), unit="tensor", description="writing"):
                layer = _OWN_LAYER.fullmatch(name)
                if layer is None:
                    _add(described, places, file, WRAPPER + name, tensor, (), ())
                else:
                    stored = WRAPPER + LAYERS + transformer_engine_name(layer[2])
                    _add(described, places, file, stored, tensor, (int(layer[1]),), (num_layers,))
        torch.save({}, weights / COMMON_FILE)
    except (OSError, RuntimeError) as error:
        raise DataFileError(f"{weights}: cannot be written ({error}). Is the disk full?") from error
    write_bytes(weights / METADATA_FILE, pickle.dumps(Metadata(described, None, places)))  # type: ignore[arg-type]
    backend = {"sharded_backend": "torch_dist", "common_backend": "torch"}
    write_json(weights / BACKEND_FILE, {**backend, "sharded_backend_version": 1, "common_backend_version": 1})


def _add(
    described: dict[str, TensorStorageMetadata],
    places: dict[MetadataIndex, _StorageInfo],
    file: BinaryIO,
    name: str,
    tensor: Tensor,
    layer: tuple[int, ...],
    num_layers: tuple[int, ...],
) -> None:
    """Write a tensor, or one layer of it, and note where it is."""
    values = tensor.detach().cpu().contiguous().view((*(1 for _ in layer), *tensor.shape)).clone()
    whole = torch.Size((*num_layers, *tensor.shape))
    entry = described.setdefault(name, TensorStorageMetadata(TensorProperties(dtype=tensor.dtype), whole, []))
    offset = torch.Size((*layer, *(0 for _ in tensor.shape)))
    entry.chunks.append(ChunkStorageMetadata(offset, values.shape))
    start = file.tell()
    torch.save(values, file)
    places[MetadataIndex(name, offset)] = _StorageInfo(TENSOR_FILE, start, file.tell() - start)


def write_context(folder: Path, model_class: Pyref, settings: Mapping[str, Any]) -> None:
    """Write ``context/io.json``: the model's configuration as NeMo serializes it.

    Args:
        folder: Of the checkpoint.
        model_class: Its configuration's class.
        settings: Arguments of the class: plain values and `Pyref`.
    """
    context = _Context()
    config = context.add_config(model_class, settings, "<root>.model.config")
    module = Pyref("bionemo.llm.lightning", "BionemoLightningModule")
    model = context.add_config(module, {"config": config}, "<root>.model")
    root = context.add_config(Pyref("nemo.lightning.io.pl", "TrainerContext"), {"model": model}, "<root>")
    (folder / CONTEXT_DIR).mkdir()
    counts = dict.fromkeys(context.objects, 1)
    write_json(
        folder / CONTEXT_DIR / CONTEXT_FILE,
        {"root": root, "objects": context.objects, "refcounts": counts, "version": "0.0.1"},
    )


class _Context:
    """The objects of a context, each described once and referred to by its key."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}

    def add_config(self, target: Pyref, arguments: Mapping[str, Any], path: str) -> dict[str, str]:
        """Describe a call that is not made yet."""
        tags, history = (self._add("dict", ("builtins", "dict"), [], self._tuple(())) for _ in range(2))
        about = {
            "fn_or_cls": _value(target),
            "argument_names": self._tuple(arguments),
            "argument_tags": tags,
            "argument_history": history,
        }
        items = [[f"Attr(name={name!r})", value] for name, value in about.items()]
        metadata = self._add("arguments", _ARGUMENTS, items, _value(Pyref(*_ARGUMENTS)))
        items = [[f"Attr(name={name!r})", _value(value)] for name, value in arguments.items()]
        return self._add("config", _CONFIG, items, metadata, path)

    def _tuple(self, values: Iterable[str]) -> dict[str, str]:
        items = [[f"Index(index={index})", value] for index, value in enumerate(values)]
        return self._add("tuple", ("builtins", "tuple"), items, None)

    def _add(
        self, kind: str, python_type: tuple[str, str], items: list[Any], metadata: Any, path: str | None = None
    ) -> dict[str, str]:
        key = f"{kind}_{len(self.objects) + 1}"
        entry = {"type": _value(Pyref(*python_type)), "items": items, "metadata": metadata}
        self.objects[key] = entry if path is None else {**entry, "paths": [path]}
        return {"type": "ref", "key": key}


def _value(value: Any) -> Any:
    if isinstance(value, Pyref):
        return {"type": "pyref", "module": value.module, "name": value.name}
    return value if isinstance(value, dict) else {"type": "leaf", "value": value, "paths": []}
