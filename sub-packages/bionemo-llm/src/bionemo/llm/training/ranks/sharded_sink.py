# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Saves checkpoints that all ranks write together, at once or while training continues."""

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl
import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.core.files import atomic_directory
from bionemo.llm.training.checkpoint_writer import max_over_ranks


class CheckpointParts(Protocol):
    """What a checkpoint consists of, and which rank writes it."""

    def write_rest(self, folder: Path, module: pl.LightningModule, metrics: Mapping[str, float], name: str) -> None:
        """Write everything but tensors into the unfinished folder; called on the first rank, before the others.

        Args:
            folder: The unfinished checkpoint.
            module: What is saved.
            metrics: For the record.
            name: That the folder will have.
        """

    def take(self, module: pl.LightningModule, *, copy: bool) -> Callable[[Path], None]:
        """Return what writes this rank's tensors; called on every rank.

        Args:
            module: What is saved.
            copy: Copy to the host first, so that training may continue while the result is called, in a thread.
        """

    def complete(self, folder: Path, world_size: int) -> None:
        """Make one checkpoint of what all ranks have written; called on the first rank."""


class ShardedSink:
    """Saves the checkpoints of one run; every rank calls every method.

    Args:
        parts: What is written.
        async_save: Copy to the host and let a thread of each rank write while training continues.
    """

    def __init__(self, parts: CheckpointParts, *, async_save: bool = False) -> None:
        self.parts, self.async_save = parts, async_save
        self._pending: _Save | None = None
        self._host_group: Any = None

    def save(
        self, path: Path, module: pl.LightningModule, metrics: Mapping[str, float], written: Callable[[], None]
    ) -> None:
        """Save the current step; the folder appears when every rank has written its part.

        Args:
            path: Where to.
            module: What is saved, with the optimizer and the schedule of its trainer.
            metrics: For the record.
            written: Called on the first rank once the folder is there.
        """
        trainer = module.trainer
        self.finish(trainer, blocking=True)  # one save at a time
        stack, folder = ExitStack(), None
        if trainer.is_global_zero:
            folder = stack.enter_context(atomic_directory(path))
            self.parts.write_rest(folder, module, metrics, path.name)
        unfinished = trainer.strategy.broadcast(folder)
        assert unfinished is not None
        write = self.parts.take(module, copy=self.async_save)
        self._pending = _Save(unfinished, write, stack, written)
        self._pending.start()
        if not self.async_save:
            self.finish(trainer, blocking=True)

    def finish(self, trainer: pl.Trainer, *, blocking: bool) -> None:
        """Complete a save that every rank has written; blocking: wait for it.

        Raises:
            CheckpointError: A rank could not write its part.
        """
        pending = self._pending
        if pending is None:
            return
        if blocking:
            pending.thread.join()
        elif self._any_rank(pending.thread.is_alive(), trainer):
            return
        self._pending = None
        if self._any_rank(pending.error is not None, trainer):
            pending.stack.close()
            reason = pending.error or "see the other ranks' messages"
            raise CheckpointError(f"{pending.folder}: not saved ({reason}).") from pending.error
        if trainer.is_global_zero:
            with pending.stack:  # synced, and named, when it is complete
                self.parts.complete(pending.folder, trainer.world_size)
            pending.written()
        trainer.strategy.barrier("checkpoint")

    def _any_rank(self, value: bool, trainer: pl.Trainer) -> bool:
        """Return whether a value is true on any rank; hosts vote, because a vote on devices waits for their work."""
        if self._host_group is None and trainer.world_size > 1 and torch.distributed.get_backend() != "gloo":
            self._host_group = torch.distributed.new_group(backend="gloo")
        return bool(max_over_ranks(torch.tensor([int(value)]), trainer, self._host_group).item())


class _Save:
    """One rank's part of a save under way."""

    def __init__(
        self, folder: Path, write: Callable[[Path], None], stack: ExitStack, written: Callable[[], None]
    ) -> None:
        self.folder, self.stack, self.written = folder, stack, written
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._write, args=(write,), name="checkpoint")

    def start(self) -> None:
        """Begin to write."""
        self.thread.start()

    def _write(self, write: Callable[[Path], None]) -> None:
        try:
            write(self.folder)
        except Exception as error:  # noqa: BLE001 raised again on every rank, in finish
            self.error = error


class HostCopies:
    """Copies of tensors in host memory that is used again by the next save, pinned where a GPU copies into it."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def copy(self, tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        """Return copies, valid until the next call with the same prefix.

        Args:
            tensors: On any device.
            prefix: Tells tensors of one name apart.
        """
        copies = {}
        for name, tensor in tensors.items():
            buffer = self._buffers.get(f"{prefix}/{name}")
            if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
                self._buffers[f"{prefix}/{name}"] = buffer
            copies[name] = buffer.copy_(tensor, non_blocking=True)
        if any(tensor.is_cuda for tensor in tensors.values()):
            torch.cuda.synchronize()
        return copies
