# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Flags that commands which run a model share: devices, the checkpoint, the transformer's size, its training."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import option
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import FlagGroup


DATA, HARDWARE, MODEL, TRAINING = "data", "hardware", "model", "training"


@dataclass(frozen=True, kw_only=True)
class DeviceFlags(FlagGroup):
    """Device and precision."""

    accelerator: Literal["auto", "cpu", "gpu"] = option(
        "auto", group=HARDWARE, help="Device type; auto: a GPU where there is one."
    )
    precision: Literal[
        "auto", "fp16", "bf16", "fp32", "bf16-mixed", "fp32-mixed", "16-mixed", "fp16-mixed", "16", "32"
    ] = option(
        "auto",
        group=HARDWARE,
        help="Numeric precision; auto: bf16-mixed on a GPU, fp32 on a CPU (infer_esm2: bf16-mixed too, where a check "
        "of the results passes and it is faster).",
    )


@dataclass(frozen=True, kw_only=True)
class ComputeFlags(DeviceFlags):
    """Device, precision and number of processes."""

    num_gpus: int = option(
        1, group=HARDWARE, aliases=("--devices",), help="Number of GPUs per node; on a CPU, of processes."
    )
    num_nodes: int = option(1, group=HARDWARE, help="Number of nodes.")


@dataclass(frozen=True, kw_only=True)
class CompileFlags(FlagGroup):
    """Compilation of a model."""

    compile: bool | None = option(
        None,
        group=HARDWARE,
        help="torch.compile: compile each encoder layer (GPU only), 30 s at the start. Default: on for bf16 runs of "
        "at least 1,000 steps (lightning engine), or 1,000 packed batches to embed or perturb.",
    )


@dataclass(frozen=True, kw_only=True)
class StrategyFlags(FlagGroup):
    """How several ranks of the lightning engine share a model."""

    exclusive: ClassVar[Exclusive] = (("strategy=ddp", ("fsdp_shard_size", "fsdp_cpu_offload")),)

    strategy: Literal["auto", "ddp", "fsdp"] = option(
        "auto",
        group=HARDWARE,
        help="Data parallelism over several GPUs: ddp keeps the whole model on each, fsdp (fully sharded, FSDP2) some "
        "rows of each parameter; auto: ddp where its predicted memory fits.",
    )
    fsdp_shard_size: int | None = option(
        None,
        group=HARDWARE,
        help="Hybrid sharding: ranks that share one copy of the model, such as the GPUs of a node; default: all.",
    )
    fsdp_cpu_offload: bool = option(
        False, group=HARDWARE, help="CPU offload: keep sharded parameters and optimizer in host memory (fsdp)."
    )

    def __post_init__(self) -> None:
        """Check that the flags agree.

        Raises:
            ConfigError: Flags of fsdp contradict the strategy, or the shard size is below 1.
        """
        if self.fsdp_shard_size is not None and self.fsdp_shard_size < 1:
            raise ConfigError(f"--fsdp-shard-size {self.fsdp_shard_size}: must be at least 1.")
        if self.strategy == "ddp" and self.asked_strategy == "fsdp":
            flag = "--fsdp-cpu-offload" if self.fsdp_shard_size is None else "--fsdp-shard-size"
            raise ConfigError(f"{flag} and --strategy ddp contradict each other; leave one of them out.")
        super().__post_init__()

    @property
    def asked_strategy(self) -> str:
        """The strategy that was asked for; flags of fsdp ask for it too."""
        return "fsdp" if self.fsdp_shard_size is not None or self.fsdp_cpu_offload else self.strategy


@dataclass(frozen=True, kw_only=True)
class ModelSourceFlags(FlagGroup):
    """Where the model comes from."""

    checkpoint_path: Path = option(
        group=DATA,
        aliases=("--checkpoint",),
        help="Model: name on the Hugging Face Hub, owner/name[@revision][:subfolder], or the path of a checkpoint of "
        "any form or of a run.",
    )


@dataclass(frozen=True, kw_only=True)
class TransformerSizeFlags(FlagGroup):
    """Size of a transformer encoder."""

    num_layers: int = option(group=MODEL, help="Number of transformer layers.")
    hidden_size: int = option(group=MODEL, help="Hidden size: length of a token's vector.")
    num_attention_heads: int = option(group=MODEL, help="Number of attention heads per layer.")
    ffn_hidden_size: int = option(group=MODEL, help="Feed-forward (intermediate) size.")


@dataclass(frozen=True, kw_only=True)
class OptimizationFlags(FlagGroup):
    """Steps, learning rate and validation of a training run."""

    num_steps: int = option(group=TRAINING, aliases=("--max-steps",), help="Number of optimizer steps.")
    early_stop_on_step: int | None = option(
        None, group=TRAINING, help="Stop at this step; the learning rate schedule stays that of all steps."
    )
    lr: float = option(group=TRAINING, help="Peak learning rate.")
    warmup_steps: int | None = option(
        None,
        group=TRAINING,
        help="Warm-up: optimizer steps to the peak learning rate; default: 10 % of all, at most 2000 (fine-tuning: "
        "500).",
    )
    weight_decay: float = option(group=TRAINING, help="Decoupled weight decay (AdamW) of weight matrices.")
    val_check_interval: int = option(group=TRAINING, help="Optimizer steps between validations.")


@dataclass(frozen=True, kw_only=True)
class FineTuningFlags(FlagGroup):
    """What is trained of a pretrained model; taken one by one."""

    encoder_frozen: bool = option(False, group=TRAINING, help="Train the head alone.")
    num_frozen_layers: int = option(0, group=TRAINING, help="Keep the embeddings and this many first layers.")
    lora_finetune: bool = option(
        False, group=TRAINING, help="LoRA: train low-rank adapters of frozen matrices, and the head."
    )
    lora_rank: int = option(8, group=TRAINING, help="Inner dimension of the adapters.")
    lora_alpha: float = option(16.0, group=TRAINING, help="Scale of the adapters, divided by the rank.")
    class_weights: Literal["none", "balanced"] = option(
        "none", group=TRAINING, help="Whether rare classes count as much in the loss as frequent ones."
    )
    folds: int | None = option(
        None,
        help="Instead: cross-validate on this many folds with even shares of classes, and pool their predictions.",
    )
    num_epochs: int = option(group=TRAINING, aliases=("--max-epochs",), help="Passes over the training data.")
    early_stopping_patience: int | None = option(
        None, group=TRAINING, help="Early stopping: end after this many validations without a better one."
    )
    keep: Literal["best", "last"] = option(
        "best", group=TRAINING, help="Which validated model counts; with --folds always the last."
    )
