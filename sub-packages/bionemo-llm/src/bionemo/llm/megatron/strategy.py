# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""NeMo's strategy, built from a small configuration, and told what a step is made of.

NeMo is imported when a strategy is built, not with this module.
"""

from __future__ import annotations

import dataclasses
import math
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.pytorch.loops import evaluation_loop, fit_loop, prediction_loop
from megatron.core.distributed import DistributedDataParallelConfig

from bionemo.core.errors import BionemoError
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.megatron.nemo_imports import require_nemo
from bionemo.llm.training.ranks.launch import LaunchesSeveral, address_restored
from bionemo.llm.training.ranks.rendezvous import meet


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bionemo.llm.training.parallel_config import ParallelConfig


LOOPS: tuple[Any, ...] = (fit_loop, evaluation_loop, prediction_loop)


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
        packs_per_validation_step=parallel.packs_per_validation_step,
        tensor_model_parallel_size=parallel.tensor_model_parallel_size,
        pipeline_model_parallel_size=parallel.pipeline_model_parallel_size,
        virtual_pipeline_model_parallel_size=parallel.megatron_virtual_size,
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
    """Sets what one step takes from the data: packed batches, each one sample as long as the token budget.

    Args:
        pack_size: Tokens of a pack with its tail.
        micro_batches_per_step: Packs of one data-parallel rank in a training step.
        packs_per_validation_step: The same in a validation step.
    """

    def __init__(self, pack_size: int, micro_batches_per_step: int, packs_per_validation_step: int = 1) -> None:
        self.pack_size = pack_size
        self.micro_batches_per_step = micro_batches_per_step
        self.packs_per_validation_step = packs_per_validation_step

    def on_megatron_step_start(self, step: Any) -> Any:
        """Fill in the sizes; also leave out NeMo's look for a distillation, which needs packages of its own."""
        values = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}
        number = self.packs_per_validation_step if step.forward_only else self.micro_batches_per_step
        values |= {"micro_batch_size": 1, "seq_length": self.pack_size, "num_microbatches": number}
        return _step_class()(**values)


def filled_up(packs: Iterator[Any], number: int) -> Iterator[Any]:
    """Return so many packed batches; where there are fewer, the last one again without its labels.

    Args:
        packs: Gives batch, its number and that of its loader; at least one is left.
        number: How many to give.
    """
    pack, *place = next(packs)
    yield pack, *place
    for _ in range(number - 1):
        filler = {**pack, "labels": torch.full_like(pack["labels"], MLM_LOSS_IGNORE_INDEX)}
        pack, *place = next(packs, (filler, *place))
        yield pack, *place


def _step_class() -> type:
    from nemo.lightning.megatron_parallel import MegatronStep

    class PackStep(MegatronStep):  # type: ignore[misc]  # nemo has no types
        """A step without distillation."""

        adjust_tensor_shapes_fn = None

    return PackStep


@contextmanager
def own_groups(model: Any) -> Iterator[None]:
    """Make Megatron's groups of ranks at the end of a block, where the process group is an earlier run's.

    There NeMo makes none, or keeps those of that run, which may have had another layout.

    Args:
        model: NeMo's argument.
    """
    has_process_group = dist.is_initialized()
    yield
    if has_process_group:
        from nemo.lightning._strategy_lib import init_model_parallel

        init_model_parallel(model)


def _strategy_class() -> type:
    from nemo.lightning.pytorch.strategies import MegatronStrategy

    class BionemoMegatronStrategy(LaunchesSeveral, MegatronStrategy):  # type: ignore[misc]  # nemo has no types
        """NeMo's strategy with a checked start, a guard against NaN, and nothing left behind."""

        def __init__(
            self, *, settings: dict[str, Any], timeout: timedelta, packs_per_validation_step: int, **options: Any
        ) -> None:
            super().__init__(**options)
            self._settings, self._timeout = settings, timeout
            self._packs_per_validation_step = packs_per_validation_step
            self._fetchers: list[Callable[..., Any]] = []

        def setup_distributed(self) -> None:
            """Meet the other ranks, by name, before the process group is made, and divide them as this run asks."""
            if not dist.is_initialized():
                self.set_world_ranks()
                assert self.cluster_environment is not None
                self.store = meet(self.cluster_environment, settings=self._settings, timeout=self._timeout)
            with address_restored(self.world_size), own_groups(self.model):
                super().setup_distributed()

        def setup(self, trainer: pl.Trainer) -> None:
            """Set everything up, and remember what NeMo changes in Lightning for the whole process."""
            self._fetchers = [loop._select_data_fetcher for loop in LOOPS]
            super().setup(trainer)

        def setup_megatron_parallel(self, trainer: pl.Trainer) -> None:
            """Wrap the model without NeMo's way to more model chunks, a record of every constructor's arguments."""
            number = getattr(self, "virtual_pipeline_model_parallel_size")  # noqa: B009 set by a class without types
            self.virtual_pipeline_model_parallel_size: int | None = None
            super().setup_megatron_parallel(trainer)
            self.virtual_pipeline_model_parallel_size = number

        def init_model_parallel(self) -> None:
            """Add the module's further model chunks before all are moved and wrapped."""
            self.megatron_parallel.extend(self.lightning_module.further_pieces)
            super().init_model_parallel()

        def teardown(self) -> None:
            """Take everything down, and undo what NeMo changed in Lightning, for later runs in this process."""
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
            """Run one packed batch of validation, or several where model chunks of stages take turns."""
            packs = filled_up(dataloader_iter, self._packs_per_validation_step)
            return self.model.validation_step(packs, *args, **kwargs)

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
