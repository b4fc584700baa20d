# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Ranks that each run a whole model on their share of the data, for work that is no training."""

from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from bionemo.llm.training.third_party_warnings import silence_third_parties
from bionemo.llm.training.trainer import check_gpus, check_ranks


T = TypeVar("T")


@dataclass(frozen=True)
class DataParallelRanks:
    """This process among those that share the work; one alone needs no process group."""

    rank: int
    world_size: int
    device: torch.device
    _fabric: Any = None

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self._fabric is not None:
            self._fabric.barrier()

    def gather(self, obj: T) -> list[T]:
        """Every rank's object, in the order of the ranks."""
        if self._fabric is None:
            return [obj]
        objects: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(objects, obj)
        return objects


def start_ranks(accelerator: str, devices: int, num_nodes: int) -> DataParallelRanks:
    """Start the ranks, or join those that torchrun or SLURM started.

    Args:
        accelerator: "cpu" or "gpu", see ``resolve_accelerator``.
        devices: Processes (CPU) or GPUs of one node. The command is started anew for each but the first.
        num_nodes: Nodes.

    Raises:
        ParallelismError: There are fewer GPUs, or another number of ranks was started.
    """
    check_ranks(devices, num_nodes)
    check_gpus(accelerator, devices)
    if devices * num_nodes == 1:
        return DataParallelRanks(0, 1, torch.device("cuda", 0) if accelerator == "gpu" else torch.device("cpu"))
    from lightning.fabric import Fabric

    silence_third_parties()
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=num_nodes, strategy="ddp")
    fabric.launch()
    return DataParallelRanks(fabric.global_rank, fabric.world_size, fabric.device, fabric)
