# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""One spelling of the tensor names that releases of transformers write.

A model class puts its base model under a prefix (``esm.``, ``bert.``), a base model saved alone has none;
transformers 5 writes LayerNorm's parameters of ESM as ``gamma`` and ``beta``, as BERT's first checkpoints do; wrappers
for several devices put ``module.`` in front.
"""

from collections.abc import Iterable

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors


BASE_MODEL_PARTS = ("embeddings.", "encoder.", "pooler.", "contact_head.", "rotary_embeddings.")
"""Modules that a base model consists of, in ESM and BERT."""
OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}


def with_current_names(tensors: LazyTensors, base: str) -> LazyTensors:
    """Rename tensors to what transformers' own masked-language-model class calls them.

    Args:
        tensors: Of a checkpoint, under the names of the file.
        base: Prefix of the base model, for example "esm".

    Returns:
        The same tensors; unknown names stay.

    Raises:
        CheckpointError: Two names of the file are spellings of one tensor.
    """
    names = list(tensors)
    wrapped = bool(names) and all(name.startswith("module.") for name in names)
    is_base = is_base_model(name.removeprefix("module.") if wrapped else name for name in names)
    entries = {}
    for name in names:
        current = current_name(name.removeprefix("module.") if wrapped else name, base if is_base else "")
        if current in entries:
            raise CheckpointError(f"the weights hold {current} twice, the second time as {name}.")
        entries[current] = tensors.entries[name]
    return LazyTensors(entries)


def is_base_model(names: Iterable[str]) -> bool:
    """Return whether tensors are those of a base model saved alone, without prefix and head."""
    return any(name.startswith(("embeddings.", "encoder.")) for name in names)


def current_name(name: str, base: str) -> str:
    """Return the current spelling of one name.

    Args:
        name: As the file has it.
        base: Prefix to put before a base model's parts; empty: none.

    Example:
        >>> current_name("encoder.layer.0.LayerNorm.gamma", "esm")
        'esm.encoder.layer.0.LayerNorm.weight'
    """
    if base and name.startswith(BASE_MODEL_PARTS):
        name = f"{base}.{name}"
    for old, new in OLD_ENDINGS.items():
        if name.endswith(f"LayerNorm{old}"):
            return name.removesuffix(old) + new
    return name
