# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Derives what a run needs from the settings of its command and from the machine: engine, batch size, intervals."""

from dataclasses import replace
from typing import TypeVar

from bionemo.core.errors import ConfigError
from bionemo.llm.training.config import PretrainConfig
from bionemo.llm.training.trainer import check_gpus, check_ranks, resolve_accelerator


T = TypeVar("T")
PretrainConfigT = TypeVar("PretrainConfigT", bound=PretrainConfig)

GPU_TOKENS_PER_BATCH, CPU_TOKENS_PER_BATCH = 32_768, 4_096
MICRO_BATCH_SIZE = 64
"""Sequences of a micro-batch without packing."""


def required(value: T | None) -> T:
    """Give a setting that was checked or filled in before."""
    assert value is not None
    return value


def resolve(config: PretrainConfigT) -> PretrainConfigT:
    """Fill in what depends on the machine or on other settings, so that config.yaml says what was run.

    Raises:
        ConfigError: Settings do not fit together or this machine.
        ParallelismError: Another number of ranks was started than the settings say.
    """
    check_ranks(config.num_gpus, config.num_nodes)
    accelerator = resolve_accelerator(config.accelerator)
    check_gpus(accelerator, config.num_gpus)
    check_gpu_flags(config, accelerator)
    limit = config.sample_limit
    budget = config.tokens_per_batch
    if budget is None:
        default = GPU_TOKENS_PER_BATCH if accelerator == "gpu" else CPU_TOKENS_PER_BATCH
        if config.micro_batch_size is not None or not config.pack:
            default = (config.micro_batch_size or MICRO_BATCH_SIZE) * limit.max_tokens
        budget = max(default, limit.max_tokens)
    if budget < limit.max_tokens:
        raise ConfigError(f"--tokens-per-batch {budget} is below {limit.flag} {limit.max_tokens}: raise or lower one.")
    interval = min(config.val_check_interval, config.num_steps)
    return replace(
        config,
        accelerator=accelerator,
        engine=choose_engine(config),
        use_distributed_optimizer=uses_distributed_optimizer(config),
        tokens_per_batch=budget if config.pack else None,
        micro_batch_size=None if config.pack else budget // limit.max_tokens,
        val_check_interval=interval,
        save_interval=config.save_interval or interval,
        log_every_n_steps=config.log_every_n_steps or max(1, min(50, config.num_steps // 100)),
    )


def choose_engine(config: PretrainConfig) -> str:
    """Name the engine: the one that was asked for, else megatron where only that does what the flags say.

    Raises:
        ConfigError: The lightning engine is asked for, with something that only the megatron engine does.
    """
    wanted = config.megatron_flags()
    if config.engine == "lightning" and wanted:
        raise ConfigError(f"{wanted[0]}: needs the megatron engine. Leave --engine out, or give --engine megatron.")
    if config.engine == "auto":
        return "megatron" if wanted else "lightning"
    return config.engine


def uses_distributed_optimizer(config: PretrainConfig) -> bool:
    """Whether data-parallel ranks share the optimizer's state: on the megatron engine, unless it is switched off."""
    return choose_engine(config) == "megatron" and config.use_distributed_optimizer is not False


def check_gpu_flags(config: PretrainConfig, accelerator: str) -> None:
    """Refuse what only a GPU does elsewhere, and graphs where a replay would overwrite what is still needed.

    Raises:
        ConfigError: The message names the flag.
    """
    if accelerator != "gpu":
        for name, given in (("--compile", config.compile), ("--cuda-graphs", config.cuda_graphs)):
            if given:
                raise ConfigError(f"{name}: works on a GPU only. Leave it out on a CPU.")
        if config.attention != "auto":
            raise ConfigError(f"--attention {config.attention}: a GPU kernel. Leave it out on a CPU.")
    if config.cuda_graphs and config.num_gpus * config.num_nodes * config.accumulate_grad_batches > 1:
        raise ConfigError("--cuda-graphs: needs one GPU and --accumulate-grad-batches 1.")


def max_tokens_of_a_batch(config: PretrainConfig) -> int:
    """Budget of a pack, or without packing the tokens that the longest sequences of a micro-batch have."""
    return config.tokens_per_batch or required(config.micro_batch_size) * config.sample_limit.max_tokens
