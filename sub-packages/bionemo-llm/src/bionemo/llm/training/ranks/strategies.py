# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Lightning strategies of the ranks of a run: whole models with averaged gradients, or one sharded model.

Both meet before training starts, where ranks with other settings are named, and notice a rank that is lost.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.distributed as dist
from lightning.fabric.utilities.seed import reset_seed
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from bionemo.llm.training.ranks.launch import LaunchesSeveral
from bionemo.llm.training.ranks.lost_ranks import Lifeline
from bionemo.llm.training.ranks.rendezvous import meet
from bionemo.llm.training.ranks.sharded_model import WeightSource, build_mesh, materialize, move_buffers, shard_model


if TYPE_CHECKING:
    import lightning.pytorch as pl


COLLECTIVE_TIMEOUT = timedelta(minutes=30)
"""Of each collective: a rank may write a checkpoint, or compile, while the others wait."""


class RanksStrategy(LaunchesSeveral, DDPStrategy):
    """Data parallelism: every rank has the whole model, gradients are averaged.

    Args:
        settings: What all ranks must agree on; plain values.
        start_timeout: How long ranks wait for each other at the start.
        options: Of torch's DistributedDataParallel.
    """

    lifeline: ClassVar[Lifeline | None] = None
    """Of this process: like the process group, later trainers use it too."""

    def __init__(self, *, settings: Mapping[str, Any], start_timeout: timedelta, **options: Any) -> None:
        super().__init__(timeout=COLLECTIVE_TIMEOUT, **options)
        self.settings, self.start_timeout = settings, start_timeout

    def setup_distributed(self) -> None:
        """Meet the other ranks, by name, and make the process group.

        Raises:
            ParallelismError: A rank is missing or has other settings.
        """
        reset_seed()
        self.set_world_ranks()
        backend = self._process_group_backend = self._get_process_group_backend()
        if dist.is_initialized():
            return
        environment: Any = self.cluster_environment
        store = meet(environment, settings=self.settings, timeout=self.start_timeout)
        rank, world_size = environment.global_rank(), environment.world_size()
        device = self.root_device if self.root_device.type == "cuda" else None
        store.set_timeout(COLLECTIVE_TIMEOUT)
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=world_size, timeout=COLLECTIVE_TIMEOUT, device_id=device
        )
        if world_size > 1:
            RanksStrategy.lifeline = Lifeline(rank, world_size, store, environment.main_address)


class ShardedStrategy(RanksStrategy):
    """Fully sharded data parallelism (FSDP2) of a model that is sharded when the ranks have met.

    Args:
        model: The model, on the meta device.
        weights: Gives its initial values.
        shard_size: Ranks that share one copy; None: all.
        compute_dtype: Dtype of gathered parameters; None: their own.
        cpu_offload: Keep parameters and optimizer on the host.
        reduce_every_micro_batch: Reduce gradients after each accumulated micro-batch instead of once a step, so that
            no rank keeps whole gradients.
        options: Of ``RanksStrategy``.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        weights: WeightSource,
        shard_size: int | None = None,
        compute_dtype: torch.dtype | None = None,
        cpu_offload: bool = False,
        reduce_every_micro_batch: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._sharded, self._shard_size = model, shard_size
        self._weights: WeightSource | None = weights
        self._compute_dtype, self._cpu_offload = compute_dtype, cpu_offload
        self._reduce_every_micro_batch = reduce_every_micro_batch

    def setup(self, trainer: "pl.Trainer") -> None:
        """Shard the model, fill it, and build the optimizer of the rows on this rank."""
        assert self.accelerator is not None
        self.accelerator.setup(trainer)
        mesh = build_mesh(self.root_device.type, self.world_size, self._shard_size)
        shard_model(self._sharded, mesh, compute_dtype=self._compute_dtype, cpu_offload=self._cpu_offload)
        assert self._weights is not None
        materialize(self._sharded, self._weights, torch.device("cpu") if self._cpu_offload else self.root_device)
        self._weights = None  # what it holds of a checkpoint is not needed again
        move_buffers(self._sharded, self.root_device)
        self.setup_optimizers(trainer)
        self.setup_precision_plugin()

    def teardown(self) -> None:
        """Leave the model where it is: on another device it would be whole again."""
        assert self.cluster_environment is not None
        assert self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()
        self.checkpoint_io.teardown()

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Accumulate gradients of whole parameters on this rank: they are reduced with the step's last micro-batch."""
        model: Any = self._sharded
        if self._reduce_every_micro_batch:
            yield
            return
        model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            model.set_requires_gradient_sync(True)

    def _setup_model(self, model: nn.Module) -> nn.Module:  # type: ignore[override]  # nothing is wrapped
        return model


def current_lifeline() -> Lifeline | None:
    """Return the connection among the ranks; None for a process alone."""
    return RanksStrategy.lifeline
