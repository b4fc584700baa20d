# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The model of a fine-tuning run: pretrained encoder, new or resumed head, and what of it is trained."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.head_config import HeadConfig
from bionemo.esm2.finetuning.head_layout import FinetunedConfig, FinetunedLayout, build_with_head, head_name
from bionemo.esm2.finetuning.heads import ESM2WithHead
from bionemo.esm2.finetuning.peft_adapter import ADAPTER_DIR, adapter_state, adapter_tensors, write_adapter
from bionemo.esm2.model.hf_layout import ESM2Layout
from bionemo.llm.checkpoints.hf_directory import load_checkpoint
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.model_source import load_model
from bionemo.llm.model.freezing import freeze_layers
from bionemo.llm.model.lora import add_lora
from bionemo.llm.training.ranks.deferred_init import DeferredModel, Initialization, build_recorded
from bionemo.llm.training.ranks.fine_tuning import defer_model, encoder_tensors
from bionemo.llm.training.ranks.sharded_model import whole


if TYPE_CHECKING:
    from bionemo.esm2.model.model import ESM2Config

logger = logging.getLogger(__name__)

PRETRAINED_LAYOUT = ESM2Layout(expects_token_head=False)


def build_module(
    config: FinetuneESM2Config, head: HeadConfig, *, seed: int, checkpoint: Path | None = None
) -> DeferredModel[ESM2WithHead]:
    """Put a head on the pretrained model, and freeze or adapt what the flags say.

    Args:
        config: Settings of the command.
        head: What is predicted.
        seed: The head's random weights and the adapters' are a function of it.
        checkpoint: Of this run, to resume from; with low-rank adapters the pretrained model is read again.

    Returns:
        The model in training mode, without memory yet, and what fills it.

    Raises:
        CheckpointError: The pretrained model or the checkpoint cannot be read.
        ConfigError: A flag does not fit the model.
    """
    changes = [partial(adapt, config)] if config.lora_finetune else []

    def recorded(encoder: "ESM2Config") -> tuple[ESM2WithHead, Initialization]:
        return build_recorded(lambda: build_with_head(encoder, head, seed=seed), *changes)

    resumed = None if checkpoint is None else load_checkpoint(checkpoint, FinetunedLayout())
    if resumed is not None and not config.lora_finetune:
        module, initialization = recorded(resumed.config.encoder)
        stored = LazyTensors.of(resumed.state)
    else:
        pretrained = load_model(config.restore_from_checkpoint_path, PRETRAINED_LAYOUT)
        module, initialization = recorded(pretrained.config)
        stored = encoder_tensors(pretrained.state, module)
        if resumed is not None:  # its encoder has the adapters merged in
            of_run = LazyTensors.of(resumed.state)
            stored |= of_run.select(name for name in of_run if name.startswith("head."))
    if config.lora_finetune:
        adapter = config.lora_checkpoint_path if checkpoint is None else checkpoint / ADAPTER_DIR
        if adapter is not None:
            stored |= adapter_state(adapter, module)
    elif config.encoder_frozen:
        module.model.requires_grad_(False)
    elif config.num_frozen_layers:
        freeze_layers(module.model, config.num_frozen_layers)
    source = checkpoint or config.restore_from_checkpoint_path
    return defer_model(module, initialization, stored, source, seed=seed, is_resumed=checkpoint is not None)


def adapt(config: FinetuneESM2Config, module: ESM2WithHead) -> None:
    """Put low-rank adapters on the encoder, and freeze the rest of it."""
    heads = module.config.num_attention_heads
    add_lora(module.model, rank=config.lora_rank, alpha=config.lora_alpha, separate_qkv_heads=heads)


def saved_config(config: FinetuneESM2Config, module: ESM2WithHead) -> FinetunedConfig:
    """Describe the model for its checkpoints."""
    scale = config.lora_alpha / config.lora_rank if config.lora_finetune else 1.0
    return FinetunedConfig(module.config, module.head_config, scale)


class AdapterGatherer:
    """Gathers the adapters of a run, which are written beside the merged model of each checkpoint.

    Args:
        config: Settings of the command.
    """

    def __init__(self, config: FinetuneESM2Config) -> None:
        self._config = config

    def __call__(self, module: nn.Module) -> Callable[[Path], None]:
        """Return what writes ``adapter/`` into an unfinished checkpoint; called on every rank of a sharded model."""
        assert isinstance(module, ESM2WithHead)
        tensors = adapter_tensors(module)
        if module.head_config.kind == "linear":
            state = module.state_dict()
            head = {head_name(n, module.head_config): t for n, t in state.items() if n.startswith("head.")}
            tensors |= {f"base_model.model.{name}": whole(tensor) for name, tensor in head.items()}
        return partial(
            write_adapter,
            tensors=tensors,
            base_model=str(self._config.restore_from_checkpoint_path),
            rank=self._config.lora_rank,
            alpha=self._config.lora_alpha,
        )
