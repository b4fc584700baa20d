# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Joining the outputs of several batches into one, whatever they are nested in."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.core.errors import DataError


T = TypeVar("T")

BATCH_DIM_OF_KEY: Mapping[str, int] = MappingProxyType({"token_logits": 1})
"""Model outputs whose batch axis is not the first: logits are sequence first, [S, B, V]."""

SEQ_DIM_OF_KEY: Mapping[str, int] = MappingProxyType({"token_logits": 0})


def batch_collator(
    batches: Sequence[Any],
    batch_dim: int = 0,
    seq_dim: int = 1,
    batch_dim_key_defaults: Mapping[str, int] = BATCH_DIM_OF_KEY,
    seq_dim_key_defaults: Mapping[str, int] = SEQ_DIM_OF_KEY,
    preferred_gpu: int | None = None,
) -> Any:
    """Join the outputs of several batches along the batch axis, padding shorter sequences with zeros.

    Args:
        batches: One entry per batch, all of one structure: a tensor, None, or a dict, list or tuple of such.
        batch_dim: Axis of tensors along which they are joined.
        seq_dim: Axis that is padded to the longest batch; tensors with fewer axes are joined as they are.
        batch_dim_key_defaults: Dict keys whose tensors have another batch axis.
        seq_dim_key_defaults: Dict keys whose tensors have another sequence axis.
        preferred_gpu: Index of the CUDA device to join on. None joins where the first tensor is.

    Returns:
        The structure of one batch. Tensors without axes become one entry each of a 1-D tensor; what is None in every
        batch stays None.

    Raises:
        DataError: There is no batch, the structures differ, or a leaf is neither a tensor nor None; it is also a
            ``ValueError``.
    """
    if len(batches) == 0:
        raise DataError("Cannot process an empty sequence: batch_collator needs at least one batch.")
    first = batches[0]
    if any(type(batch) is not type(first) for batch in batches[1:]) and not _all_are(batches, Tensor):
        kinds = sorted({type(batch).__name__ for batch in batches})
        raise DataError(f"Unsupported input structure: the batches are of different types {kinds}, expected one.")

    def join(parts: Sequence[Any], batch_axis: int, seq_axis: int) -> Any:
        return batch_collator(parts, batch_axis, seq_axis, batch_dim_key_defaults, seq_dim_key_defaults, preferred_gpu)

    if first is None:
        return None
    if isinstance(first, Tensor):
        return _join_tensors(batches, batch_dim, seq_dim, preferred_gpu)
    if isinstance(first, dict):
        _require_equal([sorted(map(str, batch)) for batch in batches], "keys")
        return {
            key: join(
                [batch[key] for batch in batches],
                batch_dim_key_defaults.get(key, batch_dim),
                seq_dim_key_defaults.get(key, seq_dim),
            )
            for key in first
        }
    if isinstance(first, (list, tuple)):
        _require_equal([len(batch) for batch in batches], "lengths")
        joined = [join(parts, batch_dim, seq_dim) for parts in zip(*batches, strict=True)]
        return joined if isinstance(first, list) else tuple(joined)
    raise DataError(
        f"Unsupported input structure: found {type(first).__name__}, expected tensors, None, dict, list or tuple."
    )


def get_dtype_device(obj: Any) -> tuple[torch.dtype, torch.device]:
    """Dtype and device of the first tensor found.

    Args:
        obj: A tensor, a module (its first parameter), or a dict or list of such.

    Raises:
        DataError: There is no tensor in it; it is also a ``ValueError``.
        TypeError: It is something else.
    """
    match obj:
        case Tensor():
            return obj.dtype, obj.device
        case nn.Module():
            content: Sequence[Any] = list(obj.parameters())[:1]
        case dict():
            content = list(obj.values())
        case list():
            content = obj
        case _:
            raise TypeError(f"get_dtype_device: found {type(obj).__name__}, expected a tensor, module, dict or list.")
    if not content:
        raise DataError(f"get_dtype_device: a {type(obj).__name__} without any tensor has no dtype and device.")
    return get_dtype_device(content[0])


def some_first(seq: Iterable[T | None]) -> T:
    """The first entry that is not None.

    Raises:
        DataError: All are None, or there is none; it is also a ``ValueError``.
    """
    for entry in seq:
        if entry is not None:
            return entry
    raise DataError("some_first: a non-None value was not found.")


def _all_are(batches: Sequence[Any], kind: type) -> bool:
    return all(isinstance(batch, kind) for batch in batches)


def _require_equal(values: Sequence[Any], what: str) -> None:
    for value in values[1:]:
        if value != values[0]:
            raise DataError(f"Unsupported input structure: batches of different {what}, {values[0]} and {value}.")


def _join_tensors(tensors: Sequence[Tensor], batch_dim: int, seq_dim: int, preferred_gpu: int | None) -> Tensor:
    device = tensors[0].device if preferred_gpu is None else torch.device("cuda", preferred_gpu)
    tensors = [tensor.to(device) for tensor in tensors]
    if tensors[0].ndim == 0:
        return torch.stack(tensors)
    if tensors[0].ndim == 1:
        return torch.cat(tensors)
    if seq_dim < tensors[0].ndim:
        longest = max(tensor.shape[seq_dim] for tensor in tensors)
        tensors = [_pad(tensor, seq_dim, longest) for tensor in tensors]
    return torch.cat(tensors, dim=batch_dim)


def _pad(tensor: Tensor, dim: int, length: int) -> Tensor:
    """Append zeros along one axis. F.pad counts axes from the last one, with two numbers each."""
    missing = length - tensor.shape[dim]
    if missing == 0:
        return tensor
    axes_behind = tensor.ndim - 1 - dim
    return F.pad(tensor, [0, 0] * axes_behind + [0, missing])
