# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How several ranks fine-tune a model with a head: the whole model on each, or some rows of every parameter.

Either way the model is built without memory and filled one tensor at a time: from the pretrained model, and what is
new, a head or adapters, with the same random values on any number of ranks.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bionemo.core.errors import ConfigError
from bionemo.llm.checkpoints.hf_directory import check_state
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.lora import is_adapter, with_adapted_names
from bionemo.llm.training.checkpoint_writer import CheckpointSink, HuggingFaceSink
from bionemo.llm.training.lightning_engine import device_memory
from bionemo.llm.training.ranks.deferred_init import DeferredModel, Initialization, ModuleT
from bionemo.llm.training.ranks.memory import StepShape, choose_strategy
from bionemo.llm.training.ranks.run_files import RunFiles
from bionemo.llm.training.ranks.sharded_checkpoint import ShardedModelParts
from bionemo.llm.training.ranks.sharded_model import WeightSource
from bionemo.llm.training.ranks.sharded_sink import ShardedSink
from bionemo.llm.training.ranks.strategies import RanksStrategy, ShardedStrategy
from bionemo.llm.training.resolve import PLACE_FIELDS, check_shard_size


logger = logging.getLogger(__name__)

ENCODER = "model."
"""Of the names of the encoder's parameters in a model with a head."""
TOKEN_HEAD = ("lm_head.", "output_layer.")
"""Of the names of parameters that a head takes the place of."""
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


def encoder_tensors(pretrained: Mapping[str, Tensor], module: nn.Module) -> LazyTensors:
    """Rename a pretrained model's tensors to those of the encoder in a model with a head.

    Args:
        pretrained: State dict of the model, with or without a masked-token head, which is left out.
        module: The model with a head, and maybe adapters.
    """
    entries = LazyTensors.of(pretrained).entries
    encoder = {f"{ENCODER}{name}": tensor for name, tensor in entries.items() if not name.startswith(TOKEN_HEAD)}
    return with_adapted_names(LazyTensors(encoder), module)


def defer_model(
    module: ModuleT,
    initialization: Initialization,
    stored: Mapping[str, Tensor],
    source: str | Path,
    *,
    seed: int,
    is_resumed: bool,
) -> DeferredModel[ModuleT]:
    """Join a model with a head, and maybe adapters, to what fills it.

    Args:
        module: The model, on the meta device.
        initialization: Its random weights.
        stored: Tensors of the pretrained encoder, or of all of a run to resume.
        source: What to name in errors.
        seed: Of the random weights.
        is_resumed: Whether nothing is new.

    Raises:
        CheckpointError: The tensors are of another model.
    """
    new = [name for name in module.state_dict() if not name.startswith(ENCODER) or is_adapter(name)]
    tensors = check_state(module, stored, source, optional=() if is_resumed else new)
    return DeferredModel(module.train(), initialization.weights(seed, tensors))


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
    whole_anyway = config.encoder_frozen or getattr(config, "find_lr", False) or precision.startswith("16")
    if asked == "auto" and (config.lora_finetune or whole_anyway):
        asked = "ddp"  # gradients and moments are small, or sharded ranks cannot do it
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
    weights: WeightSource | None,
    precision: str,
    settings: Mapping[str, Any],
    start_step: int,
) -> RanksStrategy | None:
    """Build the strategy of the ranks, which compare their settings before they train; None for one whole model.

    Args:
        config: Flags of the command.
        model: Encoder and head: whole, or on the meta device where it is to be sharded.
        weights: Fills a sharded model; None: it is whole.
        precision: Lightning's name.
        settings: Plain values of all flags.
        start_step: Step at which this rank starts.
    """
    shared = {name: value for name, value in settings.items() if name not in PLACE_FIELDS} | {"start_step": start_step}
    common: dict[str, Any] = {"settings": shared, "start_timeout": START_TIMEOUT}
    if weights is None:
        ranks = config.num_gpus * config.num_nodes
        return RanksStrategy(**common, gradient_as_bucket_view=True) if ranks > 1 else None
    return ShardedStrategy(
        **common,
        model=model,
        weights=weights,
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
