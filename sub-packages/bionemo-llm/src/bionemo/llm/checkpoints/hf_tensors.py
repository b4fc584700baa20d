# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Helpers of all layouts: Megatron's fused attention input, and files read to the last tensor."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.llm.checkpoints.lazy_tensors import LazyTensor, LazyTensors


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
    """Hands out a checkpoint's tensors one by one in float32, each of the shape that is expected; nothing is read yet.

    Args:
        tensors: The checkpoint's content; it stays as it is.
        ignored_suffixes: Names with these endings carry nothing and are left out.
        ignored_prefixes: Names with these beginnings belong to parts that the model does not have.
        asked_by: What says the expected names and shapes, for messages.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        ignored_suffixes: tuple[str, ...] = (),
        ignored_prefixes: tuple[str, ...] = (),
        *,
        asked_by: str = "config.json",
    ) -> None:
        self.asked_by = asked_by
        self.remaining = {
            name: tensor
            for name, tensor in LazyTensors.of(tensors).entries.items()
            if not name.endswith(ignored_suffixes) and not name.startswith(ignored_prefixes)
        }

    def take(self, name: str, *shape: int) -> LazyTensor:
        """Remove a tensor and return it.

        Raises:
            CheckpointError: It is missing or has another shape.
        """
        if name not in self.remaining:
            raise CheckpointError(f"the weights lack {name}, which {self.asked_by} asks for.")
        tensor = self.remaining.pop(name)
        if tensor.shape != shape:
            raise CheckpointError(f"{name} has shape {tensor.shape}, {self.asked_by} asks for {shape}.")
        return LazyTensor(shape, lambda: tensor.read().float())

    def take_rows(self, name: str, num_rows: int, padded_rows: int, *columns: int) -> LazyTensor:
        """Remove a table and return it with zero rows appended, as Megatron pads a vocabulary.

        Raises:
            CheckpointError: It is missing or has another shape.
        """
        rows = self.take(name, num_rows, *columns)

        def read() -> Tensor:
            table = torch.zeros(padded_rows, *columns)
            table[:num_rows] = rows.read()
            return table

        return LazyTensor((padded_rows, *columns), read)

    def take_padded_rows(self, name: str, num_rows: int, padded_rows: int, *columns: int) -> LazyTensor:
        """Remove a table of Megatron and return it padded with zero rows, however far the file pads it.

        Raises:
            CheckpointError: It is missing, has fewer rows or other columns.
        """
        found = self.remaining.get(name)
        stored_rows = found.shape[0] if found is not None and found.shape else 0
        table = self.take(name, max(stored_rows, num_rows), *columns)

        def read() -> Tensor:
            padded = torch.zeros(padded_rows, *columns)
            padded[:num_rows] = table.read()[:num_rows]
            return padded

        return LazyTensor((padded_rows, *columns), read)

    def take_qkv(self, names: Iterable[str], num_attention_heads: int, hidden: int, *columns: int) -> LazyTensor:
        """Remove query, key and value, [hidden, ...] each, and return them fused.

        Raises:
            CheckpointError: One is missing or has another shape.
        """
        parts = [self.take(name, hidden, *columns) for name in names]
        return LazyTensor(
            (len(parts) * hidden, *columns), lambda: fuse_qkv((part.read() for part in parts), num_attention_heads)
        )

    def check_tied(self, name: str, tied: LazyTensor, num_rows: int) -> None:
        """Remove a tensor that repeats the first rows of another one, where the file has it.

        Raises:
            CheckpointError: It does not repeat them.
        """
        copy = self.remaining.pop(name, None)
        if copy is not None and not torch.equal(copy.read().float(), tied.read()[:num_rows]):
            raise CheckpointError(f"{name} differs from the tensor that the model ties it to.")

    def finish(self, kind: str) -> None:
        """Refuse tensors that nobody asked for.

        Raises:
            CheckpointError: There are some; the message gives the first.
        """
        if self.remaining:
            raise CheckpointError(
                f"the weights hold {len(self.remaining)} tensors that {kind} lacks, first {min(self.remaining)}."
            )
