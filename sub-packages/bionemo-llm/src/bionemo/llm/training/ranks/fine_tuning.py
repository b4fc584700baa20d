# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How several ranks fine-tune a model with a head: the whole model on each, or some rows of every parameter.

The pretrained model is read on the host of every rank, and sharded from there one layer at a time.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from bionemo.core.errors import ConfigError
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.training.checkpoint_writer import CheckpointSink, HuggingFaceSink
from bionemo.llm.training.lightning_engine import device_memory
from bionemo.llm.training.ranks.memory import StepShape, choose_strategy
from bionemo.llm.training.ranks.run_files import RunFiles
from bionemo.llm.training.ranks.sharded_checkpoint import ShardedModelParts
from bionemo.llm.training.ranks.sharded_sink import ShardedSink
from bionemo.llm.training.ranks.strategies import RanksStrategy, ShardedStrategy
from bionemo.llm.training.resolve import PLACE_FIELDS, check_shard_size


logger = logging.getLogger(__name__)

START_TIMEOUT = timedelta(minutes=10)
"""How long ranks wait for each other at the start."""


class FineTuningSettings(Protocol):
    """Flags of a command that say how its ranks share a model, and what of it is trained."""

    @property
    def num_gpus(self) -> int: ...  # noqa: D102
    @property
    def num_nodes(self) -> int: ...  # noqa: D102
    @property
    def fsdp_shard_size(self) -> int | None: ...  # noqa: D102
    @property
    def fsdp_cpu_offload(self) -> bool: ...  # noqa: D102
    @property
    def encoder_frozen(self) -> bool: ...  # noqa: D102
    @property
    def lora_finetune(self) -> bool: ...  # noqa: D102
    @property
    def accumulate_grad_batches(self) -> int: ...  # noqa: D102
    @property
    def asked_strategy(self) -> str: ...  # noqa: D102


def check_strategy(config: FineTuningSettings, precision: str) -> None:
    """Refuse a strategy that cannot do what other flags ask.

    Args:
        config: Flags of the command.
        precision: Lightning's name.

    Raises:
        ConfigError: The message names the flags.
        ParallelismError: The ranks cannot be divided into groups that share one copy.
    """
    if config.asked_strategy != "fsdp":
        return
    check_shard_size(config.num_gpus * config.num_nodes, config.fsdp_shard_size)
    if precision.startswith("16"):
        raise ConfigError("--precision of float16: not with --strategy fsdp. Use bf16-mixed or fp32.")
    if config.encoder_frozen:
        raise ConfigError(
            "--encoder-frozen: not with --strategy fsdp, which has little to shard where a head alone is trained. "
            "Leave --strategy out."
        )
    if getattr(config, "find_lr", False):
        raise ConfigError("--find-lr: not with --strategy fsdp, it trains the whole model on one device. Give --lr.")


def is_sharded(
    config: FineTuningSettings,
    shape: BioBertConfig,
    vocab_size: int,
    *,
    num_tokens: int,
    accelerator: str,
    precision: str,
) -> bool:
    """Choose between the whole model on each rank and a sharded one, by predicted memory where it was left open.

    Args:
        config: Flags of the command.
        shape: Of the encoder.
        vocab_size: Tokens of its vocabulary.
        num_tokens: Most tokens of a micro-batch.
        accelerator: "cpu" or "gpu".
        precision: Lightning's name.
    """
    asked, num_ranks = config.asked_strategy, config.num_gpus * config.num_nodes
    if asked == "auto" and (config.encoder_frozen or config.lora_finetune or precision.startswith("16")):
        asked = "ddp"  # gradients and moments are small, or what sharded ranks do not train in
    if num_ranks == 1 and asked != "fsdp":
        return False
    step = StepShape(
        tokens=num_tokens,
        num_ranks=num_ranks,
        shard_size=config.fsdp_shard_size,
        half_precision=precision != "32-true",
        compiled=False,
        micro_batches=config.accumulate_grad_batches,
        cpu_offload=config.fsdp_cpu_offload,
    )
    plan, text = choose_strategy(asked, shape, vocab_size, step, device_memory(accelerator, config.num_gpus))
    logger.info("%s", text)
    return plan.strategy == "fsdp"


def build_strategy(
    config: FineTuningSettings,
    model: nn.Module,
    *,
    sharded: bool,
    precision: str,
    settings: Mapping[str, Any],
    start_step: int,
) -> RanksStrategy | None:
    """Build the strategy of the ranks, which compare their settings before they train; None for one whole model.

    Args:
        config: Flags of the command.
        model: Encoder and head, whole and on the host.
        sharded: See ``is_sharded``.
        precision: Lightning's name.
        settings: Plain values of all flags.
        start_step: Step at which this rank starts.
    """
    shared = {name: value for name, value in settings.items() if name not in PLACE_FIELDS} | {"start_step": start_step}
    common: dict[str, Any] = {"settings": shared, "start_timeout": START_TIMEOUT}
    if not sharded:
        ranks = config.num_gpus * config.num_nodes
        return RanksStrategy(**common, gradient_as_bucket_view=True) if ranks > 1 else None
    return ShardedStrategy(
        **common,
        model=model.cpu(),
        shard_size=config.fsdp_shard_size,
        compute_dtype=torch.bfloat16 if precision == "bf16-mixed" else None,
        cpu_offload=config.fsdp_cpu_offload,
    )


def checkpoint_sink(
    files: RunFiles, *, sharded: bool, gather_extra: Callable[[nn.Module], Callable[[Path], None]] | None = None
) -> CheckpointSink:
    """Save from the first rank, which holds the whole model, or a sharded one from all.

    Args:
        files: What is beside the tensors.
        sharded: See ``is_sharded``.
        gather_extra: Called on every rank that has a part of the model; returns what writes further files of it.
    """
    if sharded:
        return ShardedSink(ShardedModelParts(files, gather_extra))
    return HuggingFaceSink(files.layout, files.fingerprint, files.record, card=files.card, gather_extra=gather_extra)
