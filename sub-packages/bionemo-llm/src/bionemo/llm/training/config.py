# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The settings that every pretraining command shares; a model's command adds its data and its architecture."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from bionemo.core.config import check_exclusive, explicit_fields, option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import RunFlags, SharedFlags
from bionemo.llm.flag_groups import CompileFlags, ComputeFlags, OptimizationFlags, StrategyFlags
from bionemo.llm.training.parallel_config import ParallelConfig


DATA, MODEL, BATCHES, TRAINING = "data", "model", "batches", "training"
CHECKPOINTS, HARDWARE, PARALLEL = "checkpoints", "hardware", "model parallelism"
OUTPUT, WANDB = "output", "Weights & Biases"

SHAPE_FIELDS = ("num_layers", "hidden_size", "num_attention_heads", "ffn_hidden_size")
ASKS_FSDP = ("strategy=fsdp", "fsdp_shard_size", "fsdp_cpu_offload")
ASKS_MEGATRON = (
    *("engine=megatron", "sequence_parallel", "use_distributed_optimizer", "decoder_first_pipeline_num_layers>1"),
    *("tensor_model_parallel_size>1", "pipeline_model_parallel_size>1", "context_parallel_size>1"),
    "virtual_pipeline_model_parallel_size>1",
)
"""Conditions under which flags ask for FSDP, and for Megatron."""


class SampleLimit(NamedTuple):
    """The setting that bounds a sample's length, and its value in tokens."""

    flag: str
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(StrategyFlags, ComputeFlags, RunFlags):
    """Pretrain a masked-token model."""

    at_least_one: ClassVar[tuple[str, ...]] = (
        *"num_steps accumulate_grad_batches val_check_interval num_gpus num_nodes tokens_per_batch".split(),
        *"micro_batch_size save_interval log_every_n_steps early_stop_on_step scheduler_num_steps".split(),
        "start_timeout_s",
    )
    """Fields that must not be below 1 where they are given; subclasses add theirs."""
    not_negative: ClassVar[tuple[str, ...]] = (
        *"seed num_dataset_workers save_top_k weight_decay save_every_minutes".split(),
    )

    exclusive: ClassVar[Exclusive] = (
        *StrategyFlags.exclusive,
        ("tokens_per_batch", ("micro_batch_size",)),
        ("pack=False", ("tokens_per_batch",)),
        ("disable_checkpointing", ("save_interval", "resume_if_exists", "resume_from")),
        *((one, ("strategy=ddp", *ASKS_FSDP, "engine=lightning")) for one in ASKS_MEGATRON),
        *((one, ("cuda_graphs", "precision=16-mixed")) for one in ASKS_FSDP),
        ("cuda_graphs", ("num_gpus>1", "num_nodes>1", "accumulate_grad_batches>1")),
    )

    pack: bool = option(
        True, group=BATCHES, help="Fill each batch with whole sequences up to a token budget, without padding."
    )
    tokens_per_batch: int | None = option_like(SharedFlags, "tokens_per_batch", None, group=BATCHES)
    micro_batch_size: int | None = option_like(SharedFlags, "micro_batch_size", None, group=BATCHES)
    num_dataset_workers: int = option_like(SharedFlags, "num_dataset_workers", 1, group=BATCHES)
    mask_prob: float = option(
        0.15, group=BATCHES, help="Masking probability: fraction of the tokens selected for the loss."
    )
    mask_token_prob: float = option(
        0.8, group=BATCHES, help="Probability that a selected token is replaced by the mask token."
    )
    random_token_prob: float = option(
        0.1, group=BATCHES, help="Probability that a selected token is replaced by a random token."
    )

    num_steps: int = option_like(OptimizationFlags, "num_steps", 500_000)
    early_stop_on_step: int | None = option_like(OptimizationFlags, "early_stop_on_step", None)
    scheduler_num_steps: int | None = option(
        None,
        group=TRAINING,
        help="Steps of the whole learning-rate schedule; default: --num-steps, in a resumed run what it was.",
    )
    lr: float = option_like(OptimizationFlags, "lr", 4e-4)
    weight_decay: float = option_like(OptimizationFlags, "weight_decay", 0.01)
    accumulate_grad_batches: int = option(
        1, group=TRAINING, help="Gradient accumulation: micro-batches of one optimizer step."
    )
    val_check_interval: int = option_like(OptimizationFlags, "val_check_interval", 10_000)
    limit_val_batches: int | float | None = option(
        2, group=TRAINING, help="Validation batches: a number, a share such as 0.5 or 1.0, or None for all."
    )
    log_every_n_steps: int | None = option(
        None,
        group=TRAINING,
        help="Optimizer steps between rows of metrics.csv; default: 1 % of --num-steps, at most 50.",
    )
    seed: int = option_like(SharedFlags, "seed", 42, group=TRAINING)

    resume_if_exists: bool = option(
        False,
        group=CHECKPOINTS,
        help="Resume from the latest checkpoint of this run, bit-identical to an uninterrupted run.",
    )
    restore_from_checkpoint_path: Path | None = option(
        None, group=CHECKPOINTS, help="Start a new run with architecture and weights of this checkpoint."
    )
    resume_from: Path | None = option(
        None, group=CHECKPOINTS, help="Resume from this checkpoint of the run instead of the latest one."
    )
    save_interval: int | None = option(
        None, group=CHECKPOINTS, help="Optimizer steps between checkpoints; default: --val-check-interval."
    )
    save_every_minutes: float = option(
        10.0, group=CHECKPOINTS, help="Also save when the last checkpoint is this many minutes old; 0 switches it off."
    )
    save_top_k: int = option(2, group=CHECKPOINTS, help="Number of best checkpoints that are kept.")
    save_best_checkpoint: bool = option(True, group=CHECKPOINTS, help="Keep the best checkpoints.")
    save_last_checkpoint: bool = option(True, group=CHECKPOINTS, help="Save when the run ends.")
    metric_to_monitor_for_checkpoints: Literal["val_loss", "val_loss_masked", "train_loss"] = option(
        "val_loss", group=CHECKPOINTS, help="Metric that ranks checkpoints; smaller is better."
    )
    disable_checkpointing: bool = option(False, group=CHECKPOINTS, help="Save nothing.")

    compile: bool | None = option_like(CompileFlags, "compile", None)
    cuda_graphs: bool | None = option(
        None,
        group=HARDWARE,
        help="CUDA graphs: replay forward and backward pass on one GPU. Default: on for compiled models of a hidden "
        "size up to 480 without dropout.",
    )
    attention: Literal["auto", "fa4", "cudnn", "torch"] = option(
        "auto",
        group=HARDWARE,
        help="Attention kernel; auto: the fastest installed one that passes a numerical check at start-up.",
    )
    engine: Literal["auto", "lightning", "megatron"] = option(
        "auto", group=HARDWARE, help="Training engine; megatron (bionemo-llm[nemo]) where a parallel size asks for it."
    )
    recompute: Literal["none", "selective", "full"] = option(
        "none",
        group=HARDWARE,
        help="Activation recomputation (gradient checkpointing): none, core attention, or whole layers.",
    )

    tensor_model_parallel_size: int = option(
        1, group=PARALLEL, help="Tensor parallelism: ranks over which each weight matrix is sharded."
    )
    pipeline_model_parallel_size: int = option(
        1, group=PARALLEL, help="Pipeline parallelism: number of pipeline stages."
    )
    virtual_pipeline_model_parallel_size: int = option(
        1, group=PARALLEL, help="Interleaved pipeline: model chunks per pipeline stage; reduces the pipeline bubble."
    )
    decoder_first_pipeline_num_layers: int | None = option(
        None, group=PARALLEL, help="Pipeline parallelism: layers of the first stage, where stages are uneven."
    )
    context_parallel_size: int = option(
        1, group=PARALLEL, help="Context parallelism: ranks over which the tokens of each packed batch are sharded."
    )
    sequence_parallel: bool = option(
        False,
        group=PARALLEL,
        help="Sequence parallelism: shard LayerNorm and dropout activations over tensor-parallel ranks.",
    )
    use_distributed_optimizer: bool | None = option(
        None, group=PARALLEL, help="Distributed (sharded) optimizer, ZeRO-1; default: on with the megatron engine."
    )
    overlap_grad_reduce: bool = option(
        True, group=PARALLEL, help="Reduce gradients during the backward pass (megatron)."
    )
    overlap_param_gather: bool = option(
        True, group=PARALLEL, help="Gather parameters during the forward pass (distributed optimizer)."
    )
    grad_reduce_in_fp32: bool = option(True, group=PARALLEL, help="Sum gradients of all ranks in float32 (megatron).")
    average_in_collective: bool = option(
        False, group=PARALLEL, help="BioNeMo 2 compatible: the loss per token forbids averaging, only off is possible."
    )
    ckpt_async_save: bool = option(
        False,
        group=CHECKPOINTS,
        help="Asynchronous checkpoints: copied to the host, written while training continues.",
    )
    start_timeout_s: int = option(
        600, group=HARDWARE, help="Start-up timeout: seconds that ranks wait for each other before training."
    )

    create_tensorboard_logger: bool = option(False, group=OUTPUT, help="Also write TensorBoard events.")

    wandb_entity: str | None = option(None, group=WANDB, help="Team or user.")
    wandb_project: str | None = option(None, group=WANDB, help="Project; without it nothing is sent.")
    wandb_group: str | None = option(None, group=WANDB, help="Group of runs.")
    wandb_id: str | None = option(None, group=WANDB, help="Id of a run to continue.")
    wandb_job_type: str | None = option(None, group=WANDB, help="Kind of run.")
    wandb_tags: tuple[str, ...] = option((), group=WANDB, help="Tags.")
    wandb_offline: bool = option(False, group=WANDB, help="Keep the log on this machine.")
    wandb_anonymous: bool = option(False, group=WANDB, help="Log without an account.")
    wandb_log_model: bool = option(False, group=WANDB, help="Upload checkpoints too.")

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        super().__post_init__()
        for name in self.at_least_one:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{flag(name)} {value}: must be at least 1.")
        for name in self.not_negative:
            if getattr(self, name) < 0:
                raise ConfigError(f"{flag(name)} {getattr(self, name)}: must not be negative.")
        if self.average_in_collective:
            raise ConfigError(
                "--average-in-collective: the loss is divided by the labelled tokens of all ranks; leave it off."
            )
        _ = self.parallel  # says what is impossible
        if self.mask_prob <= 0:
            raise ConfigError(f"--mask-prob {self.mask_prob}: must be above 0, or no token would have a loss.")
        if self.lr <= 0:
            raise ConfigError(f"--lr {self.lr}: must be above 0.")

    @property
    def parallel(self) -> ParallelConfig:
        """Model parallelism of a run.

        Raises:
            ConfigError: A size or a switch is impossible by itself.
        """
        distributed = bool(self.use_distributed_optimizer)
        return ParallelConfig(
            tensor_model_parallel_size=self.tensor_model_parallel_size,
            pipeline_model_parallel_size=self.pipeline_model_parallel_size,
            virtual_pipeline_model_parallel_size=self.virtual_pipeline_model_parallel_size,
            num_layers_in_first_pipeline_stage=self.decoder_first_pipeline_num_layers,
            context_parallel_size=self.context_parallel_size,
            sequence_parallel=self.sequence_parallel,
            use_distributed_optimizer=distributed,
            overlap_grad_reduce=self.overlap_grad_reduce,
            overlap_param_gather=self.overlap_param_gather and self.overlap_grad_reduce and distributed,
            grad_reduce_in_fp32=self.grad_reduce_in_fp32,
            recompute=self.recompute,
        )

    def megatron_flags(self) -> list[str]:
        """Flags that were given and that only the megatron engine heeds."""
        return [flag(name) for name in MEGATRON_FIELDS if getattr(self, name) not in (None, False, 1)]


MEGATRON_FIELDS = (
    *"tensor_model_parallel_size pipeline_model_parallel_size virtual_pipeline_model_parallel_size".split(),
    *"decoder_first_pipeline_num_layers context_parallel_size sequence_parallel".split(),
    "use_distributed_optimizer",
)
"""Settings that ask for the megatron engine where they are not at rest."""


def is_given(config: Any, name: str) -> bool:
    """Return whether the user has set a field: by flag, in YAML, or from Python to another value than its default."""
    default = next(field.default for field in fields(config) if field.name == name)
    return name in explicit_fields(config) or getattr(config, name) != default


def flag(name: str) -> str:
    """Spell a field as its flag."""
    return "--" + name.replace("_", "-")


def check_contradictions(config: PretrainConfig) -> None:
    """Refuse flags that contradict each other; only what the user gave counts.

    Raises:
        ConfigError: The message names both flags.
    """
    if not config.pack and config.tokens_per_batch is not None:
        raise ConfigError("--tokens-per-batch is the size of a pack; with --no-pack give --micro-batch-size.")
    check_exclusive(config)
