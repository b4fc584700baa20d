# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pieces that every Hugging Face layout needs: Megatron's fused attention input, and files read to the last tensor."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError


QKV = ("query", "key", "value")


def split_qkv(fused: Tensor, num_attention_heads: int) -> dict[str, Tensor]:
    """Take Megatron's fused weight or bias apart.

    Args:
        fused: [3 · H, ...], head by head: its query, key and value rows.
        num_attention_heads: Heads.

    Returns:
        Query, key and value, [H, ...] each.
    """
    by_head = fused.view(num_attention_heads, len(QKV), -1, *fused.shape[1:])
    return {part: by_head[:, idx].reshape(-1, *fused.shape[1:]) for idx, part in enumerate(QKV)}


def fuse_qkv(parts: Iterable[Tensor], num_attention_heads: int) -> Tensor:
    """Fuse query, key and value, [H, ...] each, to Megatron's [3 · H, ...]."""
    by_head = [part.view(num_attention_heads, -1, *part.shape[1:]) for part in parts]
    return torch.stack(by_head, dim=1).flatten(0, 2)


class TensorReader:
    """Hands out a file's tensors one by one in float32, each of the shape that is expected.

    Args:
        tensors: The file's content; it stays as it is.
        ignored_suffixes: Names with these endings carry nothing and are left out.
    """

    def __init__(self, tensors: Mapping[str, Tensor], ignored_suffixes: tuple[str, ...] = ()) -> None:
        self.remaining = {name: tensor for name, tensor in tensors.items() if not name.endswith(ignored_suffixes)}

    def take(self, name: str, *shape: int) -> Tensor:
        """Remove a tensor and give it.

        Raises:
            CheckpointError: It is missing or has another shape.
        """
        if name not in self.remaining:
            raise CheckpointError(f"the weights lack {name}, which config.json asks for.")
        tensor = self.remaining.pop(name)
        if tuple(tensor.shape) != shape:
            raise CheckpointError(f"{name} has shape {tuple(tensor.shape)}, config.json asks for {shape}.")
        return tensor.float()

    def take_rows(self, name: str, num_rows: int, padded_rows: int, *columns: int) -> Tensor:
        """Remove a table and give it with zero rows appended, as Megatron pads a vocabulary.

        Raises:
            CheckpointError: It is missing or has another shape.
        """
        table = torch.zeros(padded_rows, *columns)
        table[:num_rows] = self.take(name, num_rows, *columns)
        return table

    def finish(self, kind: str) -> None:
        """Refuse tensors that nobody asked for.

        Raises:
            CheckpointError: There are some; the message gives the first.
        """
        if self.remaining:
            raise CheckpointError(
                f"the weights hold {len(self.remaining)} tensors that {kind} lacks, first {min(self.remaining)}."
            )
