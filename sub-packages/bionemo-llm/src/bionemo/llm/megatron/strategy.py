# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""NeMo's strategy, built from a small configuration, and told what a step is made of.

NeMo is imported when a strategy is built, not with this module.
"""

from __future__ import annotations

import dataclasses
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.pytorch.loops import evaluation_loop, fit_loop, prediction_loop
from megatron.core.distributed import DistributedDataParallelConfig

from bionemo.core.errors import BionemoError
from bionemo.llm.megatron.nemo_door import require_nemo
from bionemo.llm.megatron.rendezvous import meet


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bionemo.llm.parallel_config import ParallelConfig


LOOPS = (fit_loop, evaluation_loop, prediction_loop)


def build_strategy(
    parallel: ParallelConfig, *, settings: Mapping[str, Any] | None = None, timeout: timedelta = timedelta(minutes=10)
) -> Any:
    """Build the strategy of a run.

    Args:
        parallel: How the model is spread.
        settings: What all ranks must agree on; ranks that differ are named before training starts.
        timeout: How long ranks wait for each other, at the start and in every collective.

    Returns:
        A ``MegatronStrategy``.

    Raises:
        MissingDependencyError: NeMo is not installed.
    """
    require_nemo()
    return _strategy_class()(
        settings=dict(settings or {}),
        timeout=timeout,
        tensor_model_parallel_size=parallel.tensor_model_parallel_size,
        pipeline_model_parallel_size=parallel.pipeline_model_parallel_size,
        num_layers_in_first_pipeline_stage=parallel.num_layers_in_first_pipeline_stage,
        context_parallel_size=parallel.context_parallel_size,
        sequence_parallel=parallel.sequence_parallel,
        pipeline_dtype=torch.float32,
        ddp=DistributedDataParallelConfig(
            use_distributed_optimizer=parallel.use_distributed_optimizer,
            overlap_grad_reduce=parallel.overlap_grad_reduce,
            overlap_param_gather=parallel.overlap_param_gather,
            grad_reduce_in_fp32=parallel.grad_reduce_in_fp32,
            check_for_nan_in_grad=False,  # the norm is looked at in optimizer_step, which costs nothing more
        ),
        ckpt_async_save=False,  # checkpoints are ours, see bionemo.llm.megatron.checkpoint
        replace_progress_bar=False,
    )


class StepShape(pl.Callback):
    """Tells NeMo what one step takes from the data: so many packs, each one sample as long as the token budget.

    Args:
        pack_size: Tokens of a pack with its tail.
        micro_batches_per_step: Packs of one data-parallel rank in a training step; a validation step takes one.
    """

    def __init__(self, pack_size: int, micro_batches_per_step: int) -> None:
        self.pack_size = pack_size
        self.micro_batches_per_step = micro_batches_per_step

    def on_megatron_step_start(self, step: Any) -> Any:
        """Fill in the sizes; also leave out NeMo's look for a distillation, which needs packages of its own."""
        values = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}
        number = 1 if step.forward_only else self.micro_batches_per_step
        values |= {"micro_batch_size": 1, "seq_length": self.pack_size, "num_microbatches": number}
        return _step_class()(**values)


def _step_class() -> type:
    from nemo.lightning.megatron_parallel import MegatronStep

    class PackStep(MegatronStep):  # type: ignore[misc]  # nemo has no types
        """A step without distillation."""

        adjust_tensor_shapes_fn = None

    return PackStep


def _strategy_class() -> type:
    from nemo.lightning.pytorch.strategies import MegatronStrategy

    class BionemoMegatronStrategy(MegatronStrategy):  # type: ignore[misc]  # nemo has no types
        """NeMo's strategy with a checked start, a guard against NaN, and nothing left behind."""

        def __init__(self, *, settings: dict[str, Any], timeout: timedelta, **options: Any) -> None:
            super().__init__(**options)
            self._settings, self._timeout = settings, timeout
            self._fetchers: list[Callable[..., Any]] = []

        def setup_distributed(self) -> None:
            """Meet the other ranks, by name, before the process group is made."""
            if not dist.is_initialized():
                self.set_world_ranks()
                assert self.cluster_environment is not None
                self.store = meet(self.cluster_environment, settings=self._settings, timeout=self._timeout)
            super().setup_distributed()

        def setup(self, trainer: pl.Trainer) -> None:
            """Set everything up, and remember what NeMo changes in Lightning for the whole process."""
            self._fetchers = [loop._select_data_fetcher for loop in LOOPS]
            super().setup(trainer)

        def teardown(self) -> None:
            """Take everything down, and give Lightning back what NeMo changed, for other engines in this process."""
            super().teardown()
            for loop, fetcher in zip(LOOPS, self._fetchers, strict=False):
                loop._select_data_fetcher = fetcher

        def training_step(self, dataloader_iter: Any, *args: Any, **kwargs: Any) -> Any:
            """Run the micro-batches of one step; NeMo would also log, with copies to the device in every step."""
            for chunk in self.model:
                chunk.zero_grad_buffer()
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            return self.model.training_step(dataloader_iter, *args, **kwargs)

        def validation_step(self, dataloader_iter: Any, *args: Any, **kwargs: Any) -> Any:
            """Run one validation pack."""
            return self.model.validation_step(dataloader_iter, *args, **kwargs)

        def optimizer_step(self, optimizer: Any, closure: Any, model: Any = None, **kwargs: Any) -> Any:
            """Step, and end the run at a gradient that is not finite: before anything is saved.

            Raises:
                BionemoError: The gradient's norm, the same on every rank, is NaN or infinite.
            """
            output = super(MegatronStrategy, self).optimizer_step(optimizer, closure, model, **kwargs)
            _, norm, _ = output
            if norm is not None and not math.isfinite(norm):
                raise BionemoError(
                    f"the gradient's norm is {float(norm)} in step {self.lightning_module.progress.step}. Lower "
                    "--lr, or lengthen --warmup-steps; the last checkpoint is from before it."
                )
            return output

    return BionemoMegatronStrategy
