# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The model of a fine-tuning run: pretrained encoder, new or resumed head, and what of it is trained."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.head_config import HeadConfig
from bionemo.esm2.finetuning.head_layout import FinetunedConfig, FinetunedLayout, build_with_head, head_name
from bionemo.esm2.finetuning.heads import ESM2WithHead
from bionemo.esm2.finetuning.peft_adapter import ADAPTER_DIR, adapter_tensors, read_adapter, write_adapter
from bionemo.esm2.model.hf_layout import ESM2Layout
from bionemo.llm.checkpoints.hf_directory import load_checkpoint, load_state
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors
from bionemo.llm.checkpoints.model_source import load_model
from bionemo.llm.model.freezing import freeze_layers
from bionemo.llm.model.lora import add_lora
from bionemo.llm.training.ranks.sharded_model import whole


logger = logging.getLogger(__name__)

TOKEN_HEAD = ("lm_head.", "output_layer.")


def build_module(
    config: FinetuneESM2Config, head: HeadConfig, *, seed: int, checkpoint: Path | None = None
) -> ESM2WithHead:
    """Put a head on the pretrained model, and freeze or adapt what the flags say.

    Args:
        config: Settings of the command.
        head: What is predicted.
        seed: The head's random weights and the adapters' are a function of it.
        checkpoint: Of this run, to resume from; with low-rank adapters the pretrained model is read again.

    Returns:
        The model in training mode on the CPU.

    Raises:
        CheckpointError: The pretrained model or the checkpoint cannot be read.
        ConfigError: A flag does not fit the model.
    """
    if checkpoint is None or config.lora_finetune:
        module = with_new_head(config, head, seed=seed)
    else:
        loaded = load_checkpoint(checkpoint, FinetunedLayout())
        module = build_with_head(loaded.config.encoder, head, seed=seed)
        load_state(module, loaded.state, checkpoint)
    if config.lora_finetune:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads = module.config.num_attention_heads
            add_lora(module.model, rank=config.lora_rank, alpha=config.lora_alpha, separate_qkv_heads=heads)
        adapter = config.lora_checkpoint_path if checkpoint is None else checkpoint / ADAPTER_DIR
        if adapter is not None:
            read_adapter(adapter, module)
        if checkpoint is not None:
            restore_head(module, checkpoint)
    elif config.encoder_frozen:
        module.model.requires_grad_(False)
    elif config.num_frozen_layers:
        freeze_layers(module.model, config.num_frozen_layers)
    return module.train()


def with_new_head(config: FinetuneESM2Config, head: HeadConfig, *, seed: int) -> ESM2WithHead:
    """Put a head with random weights on the pretrained model, whatever head it had before."""
    loaded = load_model(config.restore_from_checkpoint_path, ESM2Layout(expects_token_head=False))
    module = build_with_head(loaded.config, head, seed=seed)
    entries = LazyTensors.of(loaded.state).entries
    encoder = LazyTensors({name: tensor for name, tensor in entries.items() if not name.startswith(TOKEN_HEAD)})
    load_state(module.model, encoder, str(config.restore_from_checkpoint_path))
    return module


def restore_head(module: ESM2WithHead, checkpoint: Path) -> None:
    """Copy the head of a checkpoint into a model."""
    state = LazyTensors.of(load_checkpoint(checkpoint, FinetunedLayout()).state).entries
    prefix = "head."
    head = LazyTensors({name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)})
    load_state(module.head, head, checkpoint)


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
