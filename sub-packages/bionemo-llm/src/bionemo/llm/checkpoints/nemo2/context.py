# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What ``context/io.json`` of a NeMo 2 folder says: the model's settings, and dictionaries of its tokenizer.

The file describes Python objects, each by its class and arguments. None is built: plain values are read, and names of
functions as text.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.json_files import ConfigValues, read_json
from bionemo.llm.checkpoints.nemo2.folder import CONTEXT_DIR, CONTEXT_FILE, NemoFolder


SHAPE_SETTINGS = ("num_layers", "hidden_size", "num_attention_heads", "ffn_hidden_size")
"""Settings that tell a model's configuration from other objects."""
EXPECTED: dict[str, object] = {
    "normalization": "LayerNorm",
    "add_bias_linear": True,
    "gated_linear_unit": False,
    "layernorm_zero_centered_gamma": False,
    "apply_residual_connection_post_layernorm": False,
    "qk_layernorm": False,
    "rotary_interleaved": False,
    "rotary_percent": 1.0,
    "share_embeddings_and_output_weights": True,
}
"""Settings of Megatron that change what a model computes, and the only value that is supported."""
MAX_KEY_LENGTH = 1000
_ATTRIBUTE = re.compile(r"Attr\(name='(\w+)'\)")
_KEY = re.compile(r"Key\(key=(.+)\)", re.DOTALL)


class NemoContext(NamedTuple):
    """What is read of a context.

    Attributes:
        settings: Of the model: numbers, texts and switches by name.
        model_class: Name of the class of these settings, for messages.
        dictionaries: Mappings of text to numbers or text among all arguments, by the argument's name; for example
            "vocab" and "gene_to_ens" of Geneformer's tokenizer.
    """

    settings: ConfigValues
    model_class: str
    dictionaries: Mapping[str, dict[str, Any]]


def read_context(folder: NemoFolder, dictionary_names: tuple[str, ...] = ()) -> NemoContext:
    """Read the context of a folder.

    Args:
        folder: The checkpoint.
        dictionary_names: Arguments whose mappings are wanted.

    Raises:
        CheckpointError: It is missing or damaged, describes no model, or one that differs in more than sizes.
    """
    path = folder.context / CONTEXT_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder.root}: lacks {CONTEXT_DIR}/{CONTEXT_FILE}, which says the number of layers and heads."
        )
    objects = read_json(path).get("objects")
    if not isinstance(objects, dict):
        raise CheckpointError(f"{path}: describes no objects, expected the context of a model.")
    described = [dict(_attributes(entry)) for entry in objects.values()]
    settings, model_class = _model_settings(objects, described, str(path))
    return NemoContext(
        ConfigValues(settings, str(path), file="the model's settings"),
        model_class,
        {name: found for name in dictionary_names if (found := _mapping(objects, described, name)) is not None},
    )


def _attributes(entry: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the named arguments of a described object."""
    items = entry.get("items") if isinstance(entry, dict) else None
    for item in items if isinstance(items, list) else ():
        if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str):
            if name := _ATTRIBUTE.fullmatch(item[0]):
                yield name[1], item[1]


def _model_settings(
    objects: Mapping[str, Any], described: list[dict[str, Any]], source: str
) -> tuple[dict[str, Any], str]:
    found: list[tuple[dict[str, Any], str]] = []
    for entry, arguments in zip(objects.values(), described, strict=True):
        if not arguments.keys() >= set(SHAPE_SETTINGS[:3]):
            continue
        settings = {name: _plain(value) for name, value in arguments.items()}
        if any(settings[name] is None for name in SHAPE_SETTINGS[:3]):
            continue
        place = (settings, _class_name(objects, entry))
        if any(isinstance(path, str) and path.endswith(".model.config") for path in _paths(entry)):
            found = [place]
            break
        found.append(place)
    if not found:
        raise CheckpointError(f"{source}: describes no model with {', '.join(SHAPE_SETTINGS[:3])}.")
    shapes = {tuple(str(settings.get(name)) for name in SHAPE_SETTINGS) for settings, _ in found}
    if len(shapes) > 1:
        raise CheckpointError(f"{source}: describes models of {len(shapes)} shapes, expected one.")
    settings, model_class = found[0]
    for name, expected in EXPECTED.items():
        value = settings.get(name)
        if value is not None and value != expected:
            raise CheckpointError(f"{source}: says {name} {value!r:.60}, only {expected!r} is supported.")
    return settings, model_class


def _paths(entry: Any) -> list[Any]:
    paths = entry.get("paths")
    return paths if isinstance(paths, list) else []


def _plain(value: Any) -> Any:
    """Return a plain value, the name of a function or class, or None for anything else."""
    if not isinstance(value, dict):
        return value if isinstance(value, str) else None
    if value.get("type") == "leaf":
        return value.get("value")
    if value.get("type") == "pyref" and isinstance(value.get("name"), str):
        return value["name"]
    return None


def _class_name(objects: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    metadata = entry.get("metadata")
    if isinstance(metadata, dict) and metadata.get("type") == "ref":
        metadata = objects.get(str(metadata.get("key")))
    arguments = dict(_attributes(metadata))
    return str(_plain(arguments.get("fn_or_cls")) or "an unnamed class")


def _mapping(objects: Mapping[str, Any], described: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Return the mapping that an object has under the name of an argument; the largest where several have one."""
    found: list[dict[str, Any]] = []
    for arguments in described:
        reference = arguments.get(name)
        if isinstance(reference, dict) and reference.get("type") == "ref":
            found.append(dict(_entries(objects.get(str(reference.get("key"))))))
    return max(found, key=len, default=None)


def _entries(entry: Any) -> Iterator[tuple[str, Any]]:
    items = entry.get("items") if isinstance(entry, dict) else None
    for item in items if isinstance(items, list) else ():
        if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and len(item[0]) <= MAX_KEY_LENGTH:
            if (quoted := _KEY.fullmatch(item[0])) and (key := _unquoted(quoted[1])) is not None:
                yield key, _plain(item[1])


def _unquoted(text: str) -> str | None:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, str) else None
