# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Training of one model with a head on the training engine of pretraining: checkpoints, exact resume, early stopping.

Checkpoints keep adapters and the standardization of cells apart from the weights, under this project's names, so that
a run resumes exactly; the model to use is made of the one that counts when the training has ended.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from bionemo.core.config import to_mapping
from bionemo.core.errors import CheckpointError
from bionemo.geneformer.data.labels import LabeledCellDataset
from bionemo.geneformer.finetune_config import FinetuneGeneformerConfig
from bionemo.geneformer.head_training import (
    CellStatistics,
    HeadLoss,
    HeldOutScores,
    Predictions,
    head_forward_step,
)
from bionemo.geneformer.model.config import GeneformerConfig
from bionemo.geneformer.model.heads import GeneformerWithHead
from bionemo.llm.checkpoints.training_state import TrainingState
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader
from bionemo.llm.lightning import BionemoLightningModule
from bionemo.llm.model.biobert.inference import inference
from bionemo.llm.training.callbacks import MetricsWriter, ProgressBar
from bionemo.llm.training.checkpoint_writer import CheckpointWriter
from bionemo.llm.training.early_stopping import EarlyStopping
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.ranks.deferred_init import DeferredModel
from bionemo.llm.training.ranks.fine_tuning import build_strategy, checkpoint_sink, is_sharded
from bionemo.llm.training.ranks.run_files import RunFiles
from bionemo.llm.training.run_beginning import FineTuningIdentity, RunBeginning
from bionemo.llm.training.run_directory import RunDirectory, new_run_id
from bionemo.llm.training.stop_requests import StopRequests
from bionemo.llm.training.trainer import build_trainer, continue_from, process_device


if TYPE_CHECKING:
    import lightning.pytorch as pl

STATISTICS_CELLS = 2048
"""Training cells whose mean and variance stand for all."""
BEST = {True: "val_loss", False: "val_macro_f1"}
"""Metric of the best epoch of a regression, and of a classification."""


@dataclass(frozen=True)
class Job:
    """What all models of a run share.

    Attributes:
        config: Settings of the command.
        precision: Lightning's name.
        fingerprint: Settings, data and weights that a resumed run must share.
        stops: What signals ask for.
        begin: Called when the first model has done its first step.
    """

    config: FinetuneGeneformerConfig
    precision: str
    fingerprint: Mapping[str, Any]
    stops: StopRequests
    begin: Callable[[], None]

    @property
    def device(self) -> torch.device:
        """Where held-out predictions are computed."""
        return process_device(self.config.accelerator)


class OwnNames:
    """Checkpoints under the module's own names; see ``bionemo.llm.checkpoints.hf_directory.HuggingFaceLayout``."""

    def tensors_to_hf(self, state: Mapping[str, Tensor], config: GeneformerConfig) -> dict[str, Tensor]:
        """Return the state dict."""
        return dict(state)

    def tensors_from_hf(self, tensors: Mapping[str, Tensor], config: GeneformerConfig) -> Mapping[str, Tensor]:
        """Return the state dict."""
        return tensors

    def config_to_hf(self, config: GeneformerConfig) -> dict[str, Any]:
        """Return what config.json says: that the folder is no model."""
        return {"bionemo": "training of finetune_geneformer to resume; the model to use is in model/ of the run"}

    def config_from_hf(self, values: Mapping[str, Any], source: str) -> GeneformerConfig:
        """Refuse to be a model."""
        raise CheckpointError(f"{source}: is a training to resume; the model to use is in model/ of its run.")

    def save_tokenizer(self, directory: Path) -> None:
        """Write nothing: the run has the dictionaries."""


def plan_steps(config: FinetuneGeneformerConfig, num_cells: int) -> tuple[int, int]:
    """Return the optimizer steps of an epoch, and of the run."""
    cells_per_step = config.micro_batch_size * config.accumulate_grad_batches * config.num_gpus * config.num_nodes
    steps_per_epoch = math.ceil(num_cells / cells_per_step)
    return steps_per_epoch, config.num_epochs * steps_per_epoch


def train_head(
    job: Job,
    model: DeferredModel[GeneformerWithHead],
    loss: HeadLoss,
    train_data: LabeledCellDataset,
    valid_data: LabeledCellDataset,
    run: RunDirectory,
    *,
    resume: TrainingState | None,
) -> None:
    """Train a model, and leave the run's metrics, picture and checkpoints.

    Args:
        job: The run.
        model: With the weights of the checkpoint where the run is resumed; its parameters with ``requires_grad`` are
            trained.
        loss: What is minimized.
        train_data: Labeled cells.
        valid_data: Held-out cells.
        run: Folder of this model.
        resume: How far the run had come.
    """
    config, module = job.config, model.module
    head = module.head_config
    sharded = is_sharded(
        config,
        module.config,
        module.config.vocab_size,
        num_tokens=config.micro_batch_size * (config.seq_length or module.config.seq_length),
        accelerator=config.accelerator,
        precision=job.precision,
    )
    if not sharded:
        model.on_host()
    steps_per_epoch, max_steps = plan_steps(config, len(train_data))
    warmup = min(500, max_steps // 10) if config.warmup_steps is None else min(config.warmup_steps, max_steps)
    optimizer = OptimizerConfig(
        lr=config.lr, warmup_steps=warmup, max_steps=max_steps, weight_decay=config.weight_decay, beta2=0.999
    )
    engine = BionemoLightningModule(
        module.config,
        head_forward_step,
        optimizer=optimizer,
        loss_function=loss,
        module=module,
        resume=resume,
        dropout_seed=config.seed,
    )
    step, position = engine.progress.step, engine.progress.position
    identity = FineTuningIdentity(
        run_id=run.run_id() or new_run_id(),
        asked=config,
        derived={"precision": job.precision, "steps_per_epoch": steps_per_epoch, "head": vars(head)},
        optimizer=optimizer,
        architecture=module.config,
        package="bionemo-geneformer",
    )
    metrics = MetricsWriter(
        run,
        max(1, steps_per_epoch // 4),
        start_step=step,
        texts=loss.plot_texts,
        validation=HeldOutScores(loss, head, config.num_gpus * config.num_nodes),
    )
    monitor = BEST[head.is_regression]
    files = RunFiles(OwnNames(), job.fingerprint, {"run_id": identity.run_id, "precision": job.precision})
    checkpoints = CheckpointWriter(
        run,
        checkpoint_sink(files, sharded=sharded),
        metrics,
        job.stops,
        save_interval=config.save_interval or steps_per_epoch,
        save_every_minutes=config.save_every_minutes,
        val_check_interval=steps_per_epoch,
        save_top_k=1,
        save_best=keeps_best(config),
        save_last=True,
        monitor=monitor,
        higher_is_better=not head.is_regression,
        run_id=identity.run_id,
    )
    loading = PackLoading(
        tokens_per_batch=None, sequences_per_batch=config.micro_batch_size, seed=config.seed, ignore_stop_signals=True
    )
    callbacks: list[pl.Callback] = [RunBeginning(run, identity, step, job.stops, job.begin), metrics, checkpoints]
    if config.early_stopping_patience is not None:
        patience = config.early_stopping_patience
        callbacks.append(EarlyStopping(run, monitor, patience, higher_is_better=not head.is_regression))
    if config.standardize_cells and head.is_per_cell:
        pooler: Any = module.head.pooler
        batches = build_pack_loader(train_data, loading)
        callbacks.insert(0, CellStatistics(pooler, batches, min(len(train_data), STATISTICS_CELLS)))
    trainer = build_trainer(
        accelerator=config.accelerator,
        precision=job.precision,
        devices=config.num_gpus,
        num_nodes=config.num_nodes,
        strategy=build_strategy(
            config,
            module,
            weights=model.weights if sharded else None,
            precision=job.precision,
            settings=to_mapping(config),
            start_step=step,
        ),
        max_steps=min(max_steps, config.early_stop_on_step or max_steps),
        val_check_interval=steps_per_epoch,
        limit_val_batches=1.0,
        accumulate_grad_batches=config.accumulate_grad_batches,
        gradient_clip=optimizer.gradient_clip,
        callbacks=[*callbacks, ProgressBar(metrics)],
        loggers=[],
    )
    if step:
        continue_from(trainer, step, trainer.accumulate_grad_batches)
    loading = replace(loading, rank=trainer.global_rank, world_size=trainer.world_size)
    trainer.fit(
        engine,
        build_pack_loader(train_data, loading, position=position, num_workers=config.num_dataset_workers),
        [build_pack_loader(valid_data, loading, epochs=1)],
    )


def keeps_best(config: FinetuneGeneformerConfig) -> bool:
    """Whether the best epoch counts, rather than the last."""
    return config.keep == "best" and config.folds is None


def chosen_checkpoint(config: FinetuneGeneformerConfig, run: RunDirectory) -> Path:
    """Return the checkpoint that counts."""
    best = run.checkpoints_dir / "best"
    return best if keeps_best(config) and best.exists() else run.checkpoints_dir / "last"


def predict_held_out(job: Job, module: GeneformerWithHead, data: LabeledCellDataset, loss: HeadLoss) -> Predictions:
    """Predict the labels of held-out cells, in their order."""
    loading = PackLoading(tokens_per_batch=None, sequences_per_batch=job.config.micro_batch_size, seed=job.config.seed)
    module.to(job.device).eval()
    with inference(job.device, job.precision):
        for batch in build_pack_loader(data, loading, epochs=1):
            on_device = move_data_to_device(batch, job.device)
            loss(on_device, head_forward_step(module, on_device))
    module.cpu()
    return loss.take()
