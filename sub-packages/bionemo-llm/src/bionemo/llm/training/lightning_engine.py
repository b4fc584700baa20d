# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The default training engine: plain Lightning on a CPU, one GPU or data-parallel ranks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from bionemo.core.errors import ConfigError
from bionemo.llm.checkpoints.hf_directory import load_state
from bionemo.llm.checkpoints.model_card import ModelCard
from bionemo.llm.checkpoints.model_source import load_model
from bionemo.llm.checkpoints.training_state import TrainingState, read_training_state
from bionemo.llm.data.pack_loaders import as_is
from bionemo.llm.lightning import BionemoLightningModule, ForwardStep, packed_forward_step, packed_loss
from bionemo.llm.model.biobert.config import BioBertConfig, check_same_shape
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.model.compiled import compile_layers
from bionemo.llm.model.recompute import recompute_layers
from bionemo.llm.training.checkpoint_writer import CheckpointSink, HuggingFaceSink
from bionemo.llm.training.fast_path import choose_fast_path
from bionemo.llm.training.resolve import ResolvedRun
from bionemo.llm.training.static_forward import StaticForwardStep, StaticShapes
from bionemo.llm.training.task import PretrainTask


class LightningEngine:
    """See :class:`bionemo.llm.training.engine.Engine`.

    Args:
        resolved: Settings of the run.
        task: What the model family brings.

    Raises:
        ConfigError: A setting does not go with the model's objective.
    """

    def __init__(self, resolved: ResolvedRun, task: PretrainTask) -> None:
        config = resolved.asked
        if task.objective is not None and (config.compile or config.cuda_graphs):
            raise ConfigError(f"--compile, --cuda-graphs: not for {task.name}, which learns more than masked tokens.")
        self.resolved, self.task = resolved, task
        self.fast_path = choose_fast_path(resolved, task.model_config, only_masked_tokens=task.objective is None)

    def read_state(self, checkpoint: Path) -> TrainingState:
        """Read how far a run had come, with the optimizer's moments."""
        return read_training_state(checkpoint)

    def build_module(self, checkpoint: Path | None, resume: TrainingState | None) -> BionemoLightningModule:
        """Build the model, with random weights or those of the checkpoint that the run starts from or resumes from."""
        config, task = self.resolved.asked, self.task
        source = checkpoint or task.start_from
        if source is None:
            model = build_model(task.model_config, task.vocabulary, seed=config.seed)
        else:
            loaded = load_model(source, task.layout)
            if checkpoint is not None and task.architecture_given:
                check_same_shape(loaded.config, task.model_config, source)
            model = build_model(loaded.config, task.vocabulary, seed=config.seed)
            load_state(model, loaded.state, source)
        model.attention_kernel = config.attention
        recompute_layers(model.encoder.layers, config.recompute)
        if self.fast_path.has_static_shapes:
            compile_layers(model.encoder.layers)
        objective = task.objective
        return BionemoLightningModule(
            model.bert_config,
            self.build_forward_step() if objective is None else objective.forward_step,
            optimizer=task.optimizer,
            loss_function=packed_loss if objective is None else objective.loss_function,
            module=model,
            resume=resume,
            dropout_seed=config.seed if model.bert_config.has_dropout else None,
        )

    def architecture(self, module: pl.LightningModule) -> BioBertConfig:
        """Architecture of the model that was built."""
        config = module.config
        assert isinstance(config, BioBertConfig)
        return config

    def trainer_settings(self, module: pl.LightningModule) -> dict[str, Any]:
        """Precision, accumulation and clipping."""
        return {
            "precision": "32-true" if self.casts_weights else self.resolved.precision,
            "accumulate_grad_batches": self.resolved.asked.accumulate_grad_batches,
            "gradient_clip": self.task.optimizer.gradient_clip,
        }

    def callbacks(self) -> list[pl.Callback]:
        """Nothing: the module does it all."""
        return []

    def checkpoint_sink(
        self, fingerprint: Mapping[str, Any], record: Mapping[str, Any], card: ModelCard
    ) -> CheckpointSink:
        """Save from the first rank, which holds the whole model."""
        return HuggingFaceSink(self.task.layout, fingerprint, record, card=card)

    def data_share(self, rank: int, world_size: int) -> tuple[int, int]:
        """Every rank sees packed batches of its own."""
        return rank, world_size

    def collate(self, module: pl.LightningModule) -> Callable[[Any], Any]:
        """Static shapes for compiled layers."""
        if self.fast_path.has_static_shapes:
            return StaticShapes(self.resolved.max_seq_length)
        return as_is

    @property
    def casts_weights(self) -> bool:
        """Whether mixed precision means half-precision copies of the weights, which is faster than autocast."""
        return self.fast_path.has_static_shapes and self.resolved.precision == "bf16-mixed"

    def build_forward_step(self) -> ForwardStep:
        """Choose how a batch goes through the model."""
        if not self.fast_path.has_static_shapes:
            return packed_forward_step
        return StaticForwardStep(
            max_seqlen=self.resolved.max_seq_length,
            weight_dtype=torch.bfloat16 if self.casts_weights else None,
            cuda_graphs=self.fast_path.cuda_graphs,
        )
