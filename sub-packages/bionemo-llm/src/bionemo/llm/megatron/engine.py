# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The megatron engine of a run: its model's parts, trainer settings, share of the data and checkpoints."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.llm.checkpoints.hf_directory import CONFIG_FILE
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.model_card import ModelCard
from bionemo.llm.checkpoints.model_source import load_model
from bionemo.llm.checkpoints.shards import SHARDS_DIR
from bionemo.llm.checkpoints.training_state import TrainingState, read_training_state
from bionemo.llm.data.pack_loaders import as_is
from bionemo.llm.megatron.checkpoint import MegatronParts, load_shards
from bionemo.llm.megatron.module import MegatronLightningModule, WholeWeights
from bionemo.llm.megatron.nemo_imports import require_nemo
from bionemo.llm.megatron.strategy import StepShape, build_strategy
from bionemo.llm.model.biobert.config import BioBertConfig, check_same_shape
from bionemo.llm.model.biobert.model import MegatronBioBertModel, build_model
from bionemo.llm.model.compiled import compile_layers
from bionemo.llm.training.checkpoint_writer import CheckpointSink
from bionemo.llm.training.ranks.run_files import RunFiles
from bionemo.llm.training.ranks.sharded_sink import ShardedSink
from bionemo.llm.training.resolve import ResolvedRun
from bionemo.llm.training.static_forward import StaticShapes
from bionemo.llm.training.step_accounting import accounting_of
from bionemo.llm.training.task import PretrainTask


class MegatronEngine:
    """See :class:`bionemo.llm.training.engine.Engine`.

    Args:
        resolved: Settings of the run.
        task: What the model family brings.

    Raises:
        MissingDependencyError: NeMo is not installed.
        ConfigError: A setting that the training engine does not support, or ParallelismError: a size that does not
            fit.
    """

    def __init__(self, resolved: ResolvedRun, task: PretrainTask) -> None:
        require_nemo()
        config = resolved.asked
        if config.tensor_model_parallel_size > 1:
            # Megatron overlaps its collectives with products by the order in which kernels are started.
            os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "1")
        if task.objective is not None:
            raise ConfigError(f"{task.name}: learns more than masked tokens, which the lightning engine alone does.")
        self.resolved, self.config, self.task, self.parallel = resolved, config, task, resolved.parallel
        if self.has_static_shapes(task.model_config):
            # Megatron gathers parameters in hooks of modules: in compiled layers each would be a break of the graph.
            self.parallel = replace(self.parallel, overlap_param_gather=False)
        if resolved.precision not in ("32-true", "bf16-mixed"):
            raise ConfigError(
                f"--precision {config.precision}: the megatron engine trains in fp32, or in bf16-mixed: weights and "
                "activations in bfloat16, with float32 masters that the data-parallel ranks share."
            )
        if config.cuda_graphs:
            raise ConfigError("--cuda-graphs: not with the megatron engine.")
        self.parallel.data_parallel_size(resolved.num_ranks)
        self.check_model(task.model_config)
        self.parallel.check_micro_batches(config.accumulate_grad_batches)
        if resolved.accelerator == "cpu" and not names_cuda():
            raise ConfigError("--engine megatron: needs GPUs. On CPUs ranks train with --engine lightning.")

    def check_model(self, shape: BioBertConfig) -> None:
        """Refuse sizes that the model or its packed batches cannot be cut into."""
        assert shape.ffn_hidden_size is not None
        self.parallel.check_model(
            num_layers=shape.num_layers,
            num_attention_heads=shape.num_attention_heads,
            ffn_hidden_size=shape.ffn_hidden_size,
            pack_size=self.resolved.max_tokens,
            dropout=max(shape.hidden_dropout, shape.attention_dropout),
        )

    def read_state(self, checkpoint: Path) -> TrainingState:
        """Read how far a run had come, on either training engine, and see that all shards are there."""
        return read_training_state(checkpoint)

    def build_module(self, checkpoint: Path | None, resume: TrainingState | None) -> pl.LightningModule:
        """Prepare the module; each rank builds its part of the model when the groups exist."""
        shape, weights, load = self.task.model_config, None, None
        if checkpoint is not None:
            assert resume is not None
            stored = self.task.layout.config_from_hf(read_json(checkpoint / CONFIG_FILE), str(checkpoint))
            if self.task.architecture_given:
                check_same_shape(stored, shape, checkpoint)
            shape = stored
            self.check_model(shape)
            load = partial(load_shards, checkpoint=checkpoint, state=resume, layout=self.task.layout)
        elif self.task.start_from is not None:
            if (self.task.start_from / SHARDS_DIR).is_dir():
                raise CheckpointError(
                    f"{self.task.start_from}: lies in shards. Make one folder of it with consolidate_checkpoint."
                )
            loaded = load_model(self.task.start_from, self.task.layout)
            shape, state = loaded.config, loaded.state
            self.check_model(shape)
            weights = WholeWeights(lambda: state, str(self.task.start_from))
        else:
            build = partial(build_model, shape, self.task.vocabulary, seed=self.config.seed)
            weights = WholeWeights(lambda: build().state_dict(), "the seed")
        return MegatronLightningModule(
            shape,
            self.task.vocabulary,
            self.parallel,
            weights=weights,
            pack_size=self.resolved.max_tokens,
            micro_batches_per_step=self.config.accumulate_grad_batches,
            optimizer=self.task.optimizer,
            resume=resume,
            load=load,
            static_max_seqlen=self.resolved.max_seq_length if self.has_static_shapes(shape) else None,
            prepare=self.prepare_model,
            dropout_seed=self.config.seed if shape.has_dropout else None,
        )

    def has_static_shapes(self, shape: BioBertConfig) -> bool:
        """Whether layers are compiled, for which shapes stay the same."""
        return bool(self.config.compile) and shape.attention_dropout == 0

    def prepare_model(self, model: MegatronBioBertModel) -> None:
        """Choose the attention kernel and compile the layers, as the flags say."""
        model.attention_kernel = self.config.attention
        if self.has_static_shapes(model.bert_config):
            compile_layers(model.encoder.layers)

    def architecture(self, module: pl.LightningModule) -> BioBertConfig:
        """Architecture of the whole model."""
        assert isinstance(module, MegatronLightningModule)
        return module.bert_config

    def trainer_settings(self, module: pl.LightningModule) -> dict[str, Any]:
        """NeMo's strategy and precision; micro-batches and clipping are Megatron's."""
        config = self.config
        settings = self.resolved.shared_settings(start_step=accounting_of(module).progress.step)
        strategy = build_strategy(self.parallel, settings=settings, timeout=timedelta(seconds=config.start_timeout_s))
        common = {"strategy": strategy, "accumulate_grad_batches": 1, "gradient_clip": 0.0}
        if self.resolved.precision == "32-true":
            return {**common, "precision": self.resolved.precision}
        from nemo.lightning.pytorch.plugins import MegatronMixedPrecision

        plugin = MegatronMixedPrecision(self.resolved.precision, grad_reduce_in_fp32=self.parallel.grad_reduce_in_fp32)
        return {**common, "precision": None, "plugins": [plugin]}

    def callbacks(self) -> list[pl.Callback]:
        """What a step is made of."""
        config, parallel = self.resolved.asked, self.parallel
        shape = StepShape(self.resolved.max_tokens, config.accumulate_grad_batches, parallel.packs_per_validation_step)
        return [shape]

    def checkpoint_sink(
        self, fingerprint: Mapping[str, Any], record: Mapping[str, Any], card: ModelCard
    ) -> CheckpointSink:
        """Save on every rank its shards."""
        parts = MegatronParts(RunFiles(self.task.layout, fingerprint, record, card))
        return ShardedSink(parts, async_save=self.config.ckpt_async_save)

    def data_share(self, rank: int, world_size: int) -> tuple[int, int]:
        """Ranks that share a copy of the model see the same packed batches."""
        return self.parallel.data_parallel_rank(rank, world_size), self.parallel.data_parallel_size(world_size)

    def collate(self, module: pl.LightningModule) -> Callable[[Any], Any]:
        """Static shapes for compiled layers; else packed batches as the data set made them, the module cuts them."""
        if self.has_static_shapes(self.architecture(module)):
            return StaticShapes(self.resolved.max_seq_length)
        return as_is


def names_cuda() -> bool:
    """Whether ``"cuda"`` names a device here: a GPU, or what stands in for one in tests."""
    try:
        torch.empty(0, device="cuda")
    except (RuntimeError, AssertionError):
        return False
    return True
