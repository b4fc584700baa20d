# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Derives a run's training engine, batch size and intervals from its settings and from the machine.

What was asked for stays as it is: a configuration that is used again is derived anew.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from bionemo.core.errors import ConfigError, ParallelismError
from bionemo.llm.training.config import PretrainConfig, SampleLimit
from bionemo.llm.training.parallel_config import ParallelConfig
from bionemo.llm.training.trainer import check_gpus, check_ranks, resolve_accelerator, resolve_precision


PLACE_FIELDS = ("result_dir", "resume_if_exists", "num_dataset_workers")
"""Settings that may differ between ranks."""
GPU_TOKENS_PER_BATCH, CPU_TOKENS_PER_BATCH = 32_768, 4_096
SEQUENCES_PER_BATCH = 64
"""Sequences of a micro-batch without packing."""


@dataclass(frozen=True, kw_only=True)
class ResolvedRun:
    """The settings of a run: those that were asked for, and what follows from them on this machine.

    Attributes:
        asked: Settings of the command.
        accelerator: "cpu" or "gpu".
        precision: Lightning's name of the precision.
        training engine: "lightning" or "megatron".
        parallel: Sizes and switches of model parallelism.
        max_seq_length: Tokens of the longest sample.
        max_tokens: Token budget of a packed batch; without packing the tokens of the longest possible micro-batch.
        sequences_per_batch: Sequences of a micro-batch without packing; None: packs of ``max_tokens``.
        val_check_interval: Optimizer steps between validations.
        save_interval: Optimizer steps between checkpoints.
        log_every_n_steps: Optimizer steps between rows of metrics.csv.
    """

    asked: PretrainConfig
    accelerator: str
    precision: str
    engine: str
    parallel: ParallelConfig
    max_seq_length: int
    max_tokens: int
    sequences_per_batch: int | None
    val_check_interval: int
    save_interval: int
    log_every_n_steps: int

    @property
    def num_ranks(self) -> int:
        """Processes of the run."""
        return self.asked.num_gpus * self.asked.num_nodes

    @property
    def max_steps(self) -> int:
        """Optimizer step at which the run ends."""
        return min(self.asked.num_steps, self.asked.early_stop_on_step or self.asked.num_steps)

    def shared_settings(self, start_step: int) -> dict[str, Any]:
        """Return what all ranks must agree on.

        Args:
            start_step: Where this rank starts: ranks that do not see the same files would resume from different steps.
        """
        names = (each.name for each in fields(self.asked) if each.name not in PLACE_FIELDS)
        settings = {name: getattr(self.asked, name) for name in names}
        return settings | {"max_tokens": self.max_tokens, "precision": self.precision, "start_step": start_step}


def resolve(config: PretrainConfig, limit: SampleLimit) -> ResolvedRun:
    """Derive what depends on the machine or on other settings.

    Args:
        config: Settings of the command.
        limit: What bounds the length of a sample: a packed batch must hold the longest one.

    Raises:
        ConfigError: Settings do not fit together or this machine.
        ParallelismError: Another number of ranks was started than the settings say.
    """
    check_ranks(config.num_gpus, config.num_nodes)
    accelerator = resolve_accelerator(config.accelerator)
    check_gpus(accelerator, config.num_gpus)
    check_gpu_flags(config, accelerator)
    max_tokens = resolve_batch(config, limit, accelerator)
    interval = min(config.val_check_interval, config.num_steps)
    engine = choose_engine(config)
    precision = resolve_precision(config.precision, accelerator)
    check_strategy(config, engine, precision)
    distributed = engine == "megatron" and config.use_distributed_optimizer is not False
    return ResolvedRun(
        asked=config,
        accelerator=accelerator,
        precision=precision,
        engine=engine,
        parallel=replace(config, use_distributed_optimizer=distributed).parallel,
        max_seq_length=limit.max_tokens,
        max_tokens=max_tokens,
        sequences_per_batch=None if config.pack else max_tokens // limit.max_tokens,
        val_check_interval=interval,
        save_interval=config.save_interval or interval,
        log_every_n_steps=config.log_every_n_steps or max(1, min(50, config.num_steps // 100)),
    )


def resolve_batch(config: PretrainConfig, limit: SampleLimit, accelerator: str) -> int:
    """Return the tokens that a batch holds at most.

    Raises:
        ConfigError: The longest sample does not fit into a packed batch.
    """
    budget = config.tokens_per_batch
    if budget is None:
        default = GPU_TOKENS_PER_BATCH if accelerator == "gpu" else CPU_TOKENS_PER_BATCH
        if config.micro_batch_size is not None or not config.pack:
            default = (config.micro_batch_size or SEQUENCES_PER_BATCH) * limit.max_tokens
        budget = max(default, limit.max_tokens)
    if budget < limit.max_tokens:
        raise ConfigError(f"--tokens-per-batch {budget} is below {limit.flag} {limit.max_tokens}: raise or lower one.")
    return budget


def choose_engine(config: PretrainConfig) -> str:
    """Return the training engine that was asked for, else megatron where only that does what the flags say.

    Raises:
        ConfigError: The lightning engine is asked for, with something that only the megatron engine does.
    """
    wanted = config.megatron_flags()
    if config.engine == "lightning" and wanted:
        raise ConfigError(f"{wanted[0]}: needs the megatron engine. Leave --engine out, or give --engine megatron.")
    if config.engine == "auto":
        return "megatron" if wanted else "lightning"
    return config.engine


def check_strategy(config: PretrainConfig, engine: str, precision: str) -> None:
    """Refuse a data-parallel strategy that cannot do what other flags ask.

    Raises:
        ConfigError: The message names the flags.
        ParallelismError: The ranks cannot be divided into groups that share one copy.
    """
    asked = config.asked_strategy
    if asked == "auto":
        return
    if engine == "megatron":
        raise ConfigError(
            f"--strategy {asked}: belongs to the lightning engine, and {(config.megatron_flags() or ['--engine'])[0]} "
            "asks for the megatron engine. Leave one of them out."
        )
    if asked == "fsdp":
        check_shard_size(config.num_gpus * config.num_nodes, config.fsdp_shard_size)
        if precision.startswith("16"):
            raise ConfigError(f"--precision {config.precision}: not with --strategy fsdp. Use bf16-mixed or fp32.")
        if config.cuda_graphs:
            raise ConfigError("--cuda-graphs: not with --strategy fsdp.")


def check_shard_size(num_ranks: int, shard_size: int | None) -> None:
    """Refuse a number of ranks that groups of this size cannot make up.

    Raises:
        ParallelismError: The message says both numbers.
    """
    if shard_size is not None and num_ranks % shard_size:
        raise ParallelismError(
            f"--fsdp-shard-size {shard_size}: does not divide the {num_ranks} ranks (--devices x --num-nodes)."
        )


def check_gpu_flags(config: PretrainConfig, accelerator: str) -> None:
    """Refuse on a CPU what only a GPU does, and CUDA graphs where a replay would overwrite what is still needed.

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
