# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Megatron's optimizer with our constants and our schedule."""

from types import SimpleNamespace
from typing import Any

from megatron.core.optimizer import OptimizerConfig as MegatronOptimizerConfig
from torch.optim.lr_scheduler import LRScheduler

from bionemo.llm.megatron.foreach_ops import fuse_adam, use_tensor_lists
from bionemo.llm.megatron.nemo_imports import require_nemo
from bionemo.llm.training.optimizer import OptimizerConfig, build_schedule
from bionemo.llm.training.parallel_config import ParallelConfig


def to_megatron_optimizer(config: OptimizerConfig, parallel: ParallelConfig) -> MegatronOptimizerConfig:
    """Translate to Megatron's optimizer config; NeMo's precision adds its dtypes."""
    return MegatronOptimizerConfig(
        optimizer="adam",
        lr=config.lr,
        min_lr=config.min_lr,
        weight_decay=config.weight_decay,
        adam_beta1=config.beta1,
        adam_beta2=config.beta2,
        adam_eps=config.eps,
        clip_grad=config.gradient_clip,
        use_distributed_optimizer=parallel.use_distributed_optimizer,
        overlap_param_gather=parallel.overlap_param_gather,
    )


def optimizer_slot(config: MegatronOptimizerConfig) -> SimpleNamespace:
    """What NeMo's strategy looks for under ``module.optim``: the config, to which it adds what precision asks for."""
    return SimpleNamespace(config=config)


def build_megatron_optimizer(
    megatron_parallel: Any, config: OptimizerConfig, megatron_config: MegatronOptimizerConfig
) -> tuple[Any, LRScheduler]:
    """Build optimizer and schedule.

    Args:
        megatron_parallel: NeMo's wrapper of this rank's parts of the model.
        config: AdamW and its schedule.
        megatron_config: The translation of it, with what precision adds.

    Returns:
        NeMo's wrapper of Megatron's optimizer, and the schedule of its groups.
    """
    require_nemo()
    from nemo.lightning._strategy_lib import setup_megatron_optimizer

    use_tensor_lists()
    optimizer = setup_megatron_optimizer(
        megatron_parallel, megatron_config, no_weight_decay_cond=lambda name, parameter: parameter.ndim < 2
    )
    fuse_adam(optimizer.mcore_optimizer)
    return optimizer, build_schedule(optimizer, config)
