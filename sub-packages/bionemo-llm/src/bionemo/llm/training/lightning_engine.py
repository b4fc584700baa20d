# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The default training engine: plain Lightning on a CPU, one GPU or data-parallel ranks."""

import logging
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch

from bionemo.core.errors import ConfigError
from bionemo.llm.checkpoints.hf_directory import CONFIG_FILE, LoadedModel, check_state, load_state
from bionemo.llm.checkpoints.json_files import read_json
from bionemo.llm.checkpoints.model_card import ModelCard
from bionemo.llm.checkpoints.model_source import load_model
from bionemo.llm.checkpoints.shards import SHARDS_DIR, ShardReader, weights_in
from bionemo.llm.checkpoints.training_state import TrainingState, read_training_state
from bionemo.llm.data.pack_loaders import as_is
from bionemo.llm.lightning import BionemoLightningModule, ForwardStep, packed_forward_step, packed_loss
from bionemo.llm.model.biobert.config import BioBertConfig, check_same_shape
from bionemo.llm.model.biobert.model import MegatronBioBertModel, build_model
from bionemo.llm.model.compiled import compile_layers
from bionemo.llm.model.recompute import recompute_layers
from bionemo.llm.training.checkpoint_writer import CheckpointSink, HuggingFaceSink
from bionemo.llm.training.fast_path import choose_fast_path
from bionemo.llm.training.ranks.deferred_init import build_recorded
from bionemo.llm.training.ranks.memory import MemoryPlan, StepShape, choose_strategy
from bionemo.llm.training.ranks.run_files import RunFiles
from bionemo.llm.training.ranks.sharded_checkpoint import ShardedModelParts
from bionemo.llm.training.ranks.sharded_sink import ShardedSink
from bionemo.llm.training.ranks.strategies import RanksStrategy, ShardedStrategy
from bionemo.llm.training.ranks.whole_checkpoint import WholeModelParts
from bionemo.llm.training.resolve import ResolvedRun
from bionemo.llm.training.static_forward import StaticForwardStep, StaticShapes
from bionemo.llm.training.step_accounting import accounting_of
from bionemo.llm.training.task import PretrainTask


if TYPE_CHECKING:
    from bionemo.llm.training.ranks.sharded_model import WeightSource

logger = logging.getLogger(__name__)


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
        self.plan: MemoryPlan | None = None
        self._weights: WeightSource | None = None

    def read_state(self, checkpoint: Path) -> TrainingState:
        """Read how far a run had come, on either training engine, with the optimizer's moments."""
        return read_training_state(checkpoint)

    def build_module(self, checkpoint: Path | None, resume: TrainingState | None) -> BionemoLightningModule:
        """Build the model, with random weights or those of the checkpoint that the run starts from or resumes from.

        A sharded model stays without memory until the ranks have met.
        """
        config, task = self.resolved.asked, self.task
        source = checkpoint or task.start_from
        loaded = None if source is None else self._load(source, is_resumed=checkpoint is not None)
        shape = task.model_config if loaded is None else loaded.config
        self.plan = self._choose_strategy(shape)
        if self.plan.strategy == "fsdp":
            model = self._build_sharded(shape, loaded, source)
        else:
            model = build_model(shape, task.vocabulary, seed=config.seed)
            if loaded is not None:
                load_state(model, loaded.state, source or "", padded=_is_in_shards(source))
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

    def _load(self, source: Path, *, is_resumed: bool) -> LoadedModel[BioBertConfig]:
        """Open a model; shards of the megatron engine stay where they are until each rank reads its rows."""
        if _is_in_shards(source):
            config = self.task.layout.config_from_hf(read_json(source / CONFIG_FILE), str(source))
            reader = ShardReader(source / SHARDS_DIR)
            if not is_resumed:  # a checkpoint of the run itself was verified when it was chosen
                reader.verify()
            loaded = LoadedModel(config, weights_in(reader))
        else:
            loaded = load_model(source, self.task.layout)
        if is_resumed and self.task.architecture_given:
            check_same_shape(loaded.config, self.task.model_config, source)
        return loaded

    def _choose_strategy(self, shape: BioBertConfig) -> MemoryPlan:
        """Choose how ranks share the model, and log why."""
        resolved, config = self.resolved, self.resolved.asked
        step = StepShape(
            tokens=resolved.max_tokens,
            num_ranks=resolved.num_ranks,
            shard_size=config.fsdp_shard_size,
            half_precision=resolved.precision != "32-true",
            compiled=self.fast_path.has_static_shapes,
            recompute=config.recompute,
            micro_batches=config.accumulate_grad_batches,
            cpu_offload=config.fsdp_cpu_offload,
        )
        asked = config.asked_strategy
        if resolved.precision.startswith("16"):  # which sharded ranks do not train in
            asked = "ddp"
        capacity = device_memory(resolved.accelerator, config.num_gpus)
        plan, text = choose_strategy(asked, shape, self.task.vocabulary.vocab_size, step, capacity)
        (logger.warning if "run out of memory" in text else logger.info)("%s", text)
        return plan

    def _build_sharded(
        self, shape: BioBertConfig, loaded: LoadedModel[BioBertConfig] | None, source: Path | None
    ) -> MegatronBioBertModel:
        """Build the model on the meta device, and find what fills it."""
        vocabulary, seed = self.task.vocabulary, self.resolved.asked.seed
        model, initialization = build_recorded(lambda: build_model(shape, vocabulary))
        stored = None
        if loaded is not None:
            stored = check_state(model, loaded.state, source or "", padded=_is_in_shards(source))
        self._weights = initialization.weights(seed, stored)
        if self.resolved.precision == "bf16-true":
            model.to(torch.bfloat16)
        return model

    def architecture(self, module: pl.LightningModule) -> BioBertConfig:
        """Architecture of the model that was built."""
        config = module.config
        assert isinstance(config, BioBertConfig)
        return config

    def trainer_settings(self, module: pl.LightningModule) -> dict[str, Any]:
        """Strategy, precision, accumulation and clipping."""
        is_sharded = self._is_sharded
        return {
            "strategy": self._build_strategy(module),
            "precision": "32-true" if self.casts_weights or is_sharded else self.resolved.precision,
            "accumulate_grad_batches": self.resolved.asked.accumulate_grad_batches,
            "gradient_clip": self.task.optimizer.gradient_clip,
        }

    def _build_strategy(self, module: pl.LightningModule) -> RanksStrategy | None:
        config = self.resolved.asked
        if self.resolved.num_ranks == 1 and not self._is_sharded:
            return None
        common: dict[str, Any] = {
            "settings": self.resolved.shared_settings(start_step=accounting_of(module).progress.step),
            "start_timeout": timedelta(seconds=config.start_timeout_s),
        }
        if not self._is_sharded:
            return RanksStrategy(**common, gradient_as_bucket_view=True)
        assert self.plan is not None
        assert self._weights is not None
        return ShardedStrategy(
            **common,
            model=module.module,  # type: ignore[arg-type]  # of our module
            weights=self._weights,
            shard_size=config.fsdp_shard_size,
            compute_dtype=torch.bfloat16 if self.resolved.precision == "bf16-mixed" else None,
            cpu_offload=config.fsdp_cpu_offload,
            reduce_every_micro_batch=self.plan.reduce_every_micro_batch,
        )

    @property
    def _is_sharded(self) -> bool:
        return self.plan is not None and self.plan.strategy == "fsdp"

    def callbacks(self) -> list[pl.Callback]:
        """Nothing: the module does it all."""
        return []

    def checkpoint_sink(
        self, fingerprint: Mapping[str, Any], record: Mapping[str, Any], card: ModelCard
    ) -> CheckpointSink:
        """Save from the first rank, which holds the whole model; a sharded one from all."""
        layout, async_save = self.task.layout, self.resolved.asked.ckpt_async_save
        files = RunFiles(layout, fingerprint, record, card)
        if self._is_sharded:
            return ShardedSink(ShardedModelParts(files), async_save=async_save)
        if async_save:
            return ShardedSink(WholeModelParts(files), async_save=True)
        return HuggingFaceSink(layout, fingerprint, record, card=card)

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
            weight_dtype=torch.bfloat16 if self.casts_weights and not self._is_sharded else None,
            cuda_graphs=self.fast_path.cuda_graphs,
        )


def _is_in_shards(source: Path | None) -> bool:
    """Return whether a checkpoint was written by model-parallel ranks, which pad the vocabulary to their number."""
    return source is not None and (source / SHARDS_DIR).is_dir()


def device_memory(accelerator: str, devices: int) -> float:
    """Return the memory of one device in bytes; on a CPU, the share of each of the processes of this computer."""
    if accelerator == "gpu":
        return float(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / devices
