# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint directories that anybody can read: Hugging Face layout, safetensors and JSON, nothing pickled.

A checkpoint holds ``config.json``, ``model.safetensors`` and tokenizer files; one written during training also has
``training_state/``. ``checksums.json`` lets a damaged file be refused by name. Directories appear whole or not at all.
"""

import json
import logging
import zlib
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bionemo.core.errors import CheckpointError, DataFileError
from bionemo.core.files import atomic_directory, write_json, write_text
from bionemo.llm.checkpoints.json_files import ConfigValues, read_json
from bionemo.llm.checkpoints.lazy_tensors import LazyTensor, LazyTensors
from bionemo.llm.checkpoints.weight_files import WEIGHTS_FILE, is_plain_file_name, open_weights


logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
CHECKSUMS_FILE = "checksums.json"
MODEL_CARD_FILE = "README.md"
"""Text about the model, which its reader may change; see `bionemo.llm.checkpoints.model_card`."""
TOKEN_HEAD_PREFIXES = ("lm_head.", "cls.predictions.", "module.lm_head.", "module.cls.predictions.")

ConfigT = TypeVar("ConfigT")


class HuggingFaceLayout(Protocol[ConfigT]):
    """How one model family's parameters and configuration are named in Hugging Face's files."""

    def tensors_to_hf(self, state: Mapping[str, Tensor], config: ConfigT) -> dict[str, Tensor]:
        """Rename and reshape a state dict to the names of the file."""

    def tensors_from_hf(self, tensors: Mapping[str, Tensor], config: ConfigT) -> Mapping[str, Tensor]:
        """Rename and reshape a file's tensors to a state dict; raises CheckpointError for missing or foreign names."""

    def config_to_hf(self, config: ConfigT) -> dict[str, Any]:
        """Translate the configuration to the content of config.json."""

    def config_from_hf(self, values: Mapping[str, Any], source: str) -> ConfigT:
        """Translate config.json; raises CheckpointError for another kind of model."""

    def save_tokenizer(self, directory: Path) -> None:
        """Write the tokenizer's files."""


class LoadedModel(NamedTuple, Generic[ConfigT]):
    """What a checkpoint directory holds: the configuration and the state dict that fits it."""

    config: ConfigT
    state: Mapping[str, Tensor]
    """Read on access where the layout allows it, so that memory holds one tensor beside the model."""


def file_checksum(path: Path) -> str:
    """CRC-32 of a file's bytes as eight hexadecimal digits: enough to notice damage, and cheap for large files."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"


def size_and_checksum(path: Path) -> dict[str, Any]:
    """Return ``size_bytes`` and ``crc32`` of a file."""
    return {"size_bytes": path.stat().st_size, "crc32": file_checksum(path)}


def write_checksums(directory: Path, known: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Record size and checksum of every file below a checkpoint directory, except for the model card.

    Args:
        directory: The unfinished checkpoint.
        known: Files, relative to it, whose ``size_bytes`` and ``crc32`` are known; they are not read.
    """
    left_out = {directory / CHECKSUMS_FILE, directory / MODEL_CARD_FILE}
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path not in left_out)
    names = {path.relative_to(directory).as_posix(): path for path in files}
    entries = {
        name: known[name] if known is not None and name in known else size_and_checksum(path)
        for name, path in names.items()
    }
    write_json(directory / CHECKSUMS_FILE, {"format": 1, "files": entries})


def verify_checksums(directory: Path) -> None:
    """Refuse a checkpoint whose weights or state are not those that were written, and log what else has changed.

    Sealed are the weights (``*.safetensors`` and their index), ``config.json``, and all in subfolders (training state,
    shards). Others, such as those of the tokenizer, may be written anew or removed by other tools. Files of other
    makers carry no checksums.

    Raises:
        CheckpointError: A sealed file is missing, truncated or changed.
    """
    path = directory / CHECKSUMS_FILE
    if not path.exists():
        return
    changed = []
    for name, entry in read_checksums(path).items():
        file = directory / name
        if not _is_sealed(name):
            if not file.is_file() or file_checksum(file) != entry["crc32"]:
                changed.append(name)
            continue
        if not file.is_file():
            raise CheckpointError(f"{directory}: {name} is missing. The checkpoint is incomplete; use another one.")
        size_bytes = file.stat().st_size
        if size_bytes != entry["size_bytes"]:
            what = "truncated" if size_bytes < entry["size_bytes"] else "changed"
            raise CheckpointError(
                f"{file}: {size_bytes} bytes, {entry['size_bytes']} were written: {what}. Use another checkpoint."
            )
        if (checksum := file_checksum(file)) != entry["crc32"]:
            raise CheckpointError(
                f"{file}: checksum {checksum}, {entry['crc32']} was written: damaged or changed. Use another "
                "checkpoint."
            )
    if changed:
        logger.warning("%s: changed since the checkpoint was written: %s", directory, ", ".join(changed))


def _is_sealed(name: str) -> bool:
    return "/" in name or name == CONFIG_FILE or name.endswith((".safetensors", ".safetensors.index.json"))


def read_checksums(path: Path) -> dict[str, dict[str, Any]]:
    """Read size and checksum of each file of a checkpoint.

    Raises:
        CheckpointError: The file is damaged, or names a file outside the checkpoint.
    """
    files = read_json(path).get("files", {})
    if not isinstance(files, dict):
        raise CheckpointError(f"{path}: files is a {type(files).__name__}, expected an object of names and checksums.")
    for name, entry in files.items():
        if not all(map(is_plain_file_name, name.split("/"))):
            raise CheckpointError(f"{path}: names {name!r}, expected a file of the checkpoint.")
        if not isinstance(entry, dict) or not {"size_bytes", "crc32"} <= entry.keys():
            raise CheckpointError(f"{path}: says {name}: {entry!r}, expected its size_bytes and crc32.")
    return files


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file.

    Raises:
        CheckpointError: The file is missing or is no whole safetensors file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file.")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error}).") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a safetensors file in a directory that is not visible yet.

    Raises:
        DataFileError: The disk is full, or the file cannot be written.
    """
    on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        safetensors.torch.save_file(on_host, path, {"format": "pt"})
    except (SafetensorError, OSError) as error:
        raise DataFileError(f"{path}: cannot be written ({error}). Is the disk full?") from error


def write_model(
    directory: Path, config: ConfigT, state: Mapping[str, Tensor], layout: HuggingFaceLayout[ConfigT]
) -> None:
    """Write config, weights and tokenizer into a directory that is not visible yet."""
    write_description(directory, layout.config_to_hf(config), layout)
    write_tensors(directory / WEIGHTS_FILE, layout.tensors_to_hf(state, config))


def write_description(directory: Path, values: Mapping[str, Any], layout: HuggingFaceLayout[Any]) -> None:
    """Write config.json with these values, and the tokenizer's files."""
    write_text(directory / CONFIG_FILE, json.dumps(values, indent=2, sort_keys=True) + "\n")
    layout.save_tokenizer(directory)


def save_checkpoint(
    directory: str | Path,
    config: ConfigT,
    state: Mapping[str, Tensor],
    layout: HuggingFaceLayout[ConfigT],
    *,
    write_more: Callable[[Path], None] | None = None,
    overwrite: bool = False,
) -> None:
    """Save a checkpoint directory; it appears whole or not at all.

    Args:
        directory: Where to; must not exist unless ``overwrite``.
        config: The model's configuration.
        state: Its state dict.
        layout: Names of the model family.
        write_more: Writes further files into the unfinished directory.
        overwrite: Replace an existing directory.

    Raises:
        DataFileError: The directory exists or cannot be written.
    """
    with atomic_directory(Path(directory), overwrite=overwrite) as unfinished:
        write_model(unfinished, config, state, layout)
        if write_more is not None:
            write_more(unfinished)
        write_checksums(unfinished)


def load_checkpoint(directory: str | Path, layout: HuggingFaceLayout[ConfigT]) -> LoadedModel[ConfigT]:
    """Load configuration and weights; nothing is unpickled.

    Raises:
        CheckpointError: The directory is missing, damaged, incomplete or of another kind of model.
    """
    path = Path(directory)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such directory. Expected a checkpoint in Hugging Face layout.")
    verify_checksums(path)
    values = read_json(path / CONFIG_FILE)
    config = layout.config_from_hf(values, str(path))
    tensors = open_weights(path)
    architecture = ConfigValues(values, str(path)).architecture()
    if architecture.endswith("ForMaskedLM") and not any(name.startswith(TOKEN_HEAD_PREFIXES) for name in tensors):
        raise CheckpointError(f"{path}: config.json says {architecture}, the weights lack its masked-token head.")
    logger.info("%s: %s in Hugging Face layout", path, architecture or "a model")
    return LoadedModel(config, layout.tensors_from_hf(tensors, config))


def load_state(module: nn.Module, state: Mapping[str, Tensor], source: str | Path, *, padded: bool = False) -> None:
    """Copy a state dict into a module of exactly its names and shapes; ``padded`` as in `check_state`.

    Raises:
        CheckpointError: Names or shapes differ; the message gives the first difference.
    """
    own, lazy = module.state_dict(), check_state(module, state, source, padded=padded)
    with torch.no_grad():
        for name in lazy:
            own[name].copy_(lazy[name])


def check_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: str | Path,
    *,
    padded: bool = False,
    optional: Collection[str] = (),
) -> LazyTensors:
    """Refuse a state dict of other names or shapes than a module's; nothing is read.

    Args:
        module: The module, which may be on the meta device.
        state: The state dict.
        source: What to name in errors.
        padded: Whether tables may be padded to another number of rows; they are returned with the module's.
        optional: Names of the module that the state dict may lack.

    Returns:
        The same tensors.

    Raises:
        CheckpointError: Names or shapes differ; the message gives the first difference.
    """
    own, lazy = module.state_dict(), LazyTensors(LazyTensors.of(state).entries)
    if missing := sorted(own.keys() - lazy.entries.keys() - set(optional)):
        raise CheckpointError(f"{source}: lacks {len(missing)} parameters of the model, first {missing[0]}.")
    if foreign := sorted(lazy.entries.keys() - own.keys()):
        raise CheckpointError(f"{source}: holds {len(foreign)} parameters that the model lacks, first {foreign[0]}.")
    for name in lazy:
        stored, shape = lazy.shape(name), tuple(own[name].shape)
        read_rows = lazy.entries[name].read_rows
        if padded and read_rows is not None and stored != shape and stored[1:] == shape[1:]:
            lazy.entries[name] = LazyTensor(shape, partial(read_rows, 0, shape[0]))
        elif stored != shape:
            raise CheckpointError(
                f"{source}: {name} has shape {stored}, the model has {shape}. The checkpoint is of another model size."
            )
    return lazy
