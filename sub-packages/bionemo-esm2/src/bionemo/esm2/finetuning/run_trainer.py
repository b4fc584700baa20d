# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The trainer of one model with everything that its run writes: metrics, picture, checkpoints, model card."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch

from bionemo.core.config import to_mapping
from bionemo.core.errors import ConfigError
from bionemo.esm2.data.tokenizer import get_tokenizer
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.dataset import LabeledProteinDataset
from bionemo.esm2.finetuning.examples import Examples
from bionemo.esm2.finetuning.head_config import HeadConfig
from bionemo.esm2.finetuning.head_layout import FinetunedLayout
from bionemo.esm2.finetuning.heads import ESM2WithHead, MegatronMLPHead
from bionemo.esm2.finetuning.loss import HeadLoss, HeadMetrics, is_higher_better, metric_columns
from bionemo.esm2.finetuning.model_setup import AdapterGatherer
from bionemo.esm2.finetuning.steps import Steps
from bionemo.llm.checkpoints.model_card import ModelCard
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader
from bionemo.llm.lightning import BionemoLightningModule
from bionemo.llm.training.callbacks import MetricsWriter, ProgressBar
from bionemo.llm.training.checkpoint_writer import CheckpointWriter
from bionemo.llm.training.config import flag
from bionemo.llm.training.early_stopping import EarlyStopping
from bionemo.llm.training.input_statistics import inputs_of
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.pretrain import build_loggers
from bionemo.llm.training.ranks.fine_tuning import build_strategy, checkpoint_sink, is_sharded
from bionemo.llm.training.ranks.run_files import RunFiles
from bionemo.llm.training.ranks.sharded_model import WeightSource
from bionemo.llm.training.run_beginning import FineTuningIdentity, RunBeginning, installed_version
from bionemo.llm.training.run_card import given_data, hub_name_of, optimizer_rows
from bionemo.llm.training.run_directory import RunDirectory, new_run_id
from bionemo.llm.training.step_accounting import accounting_of
from bionemo.llm.training.stop_requests import StopRequests
from bionemo.llm.training.trainer import build_trainer, continue_from, process_device


STATISTICS_SEQUENCES = 2048
"""Training sequences whose mean and variance stand for all in the standardization of a head's inputs."""


@dataclass(frozen=True)
class Job:
    """What all models of a run share.

    Attributes:
        config: Settings of the command.
        examples: Labeled proteins.
        accelerator, precision: As resolved on this machine.
        fingerprint: Settings, data and weights that a resumed run must share.
        stops: What signals ask for.
        begin: Called when the first model has done its first step.
    """

    config: FinetuneESM2Config
    examples: Examples
    accelerator: str
    precision: str
    fingerprint: dict[str, Any]
    stops: StopRequests
    begin: Callable[[], None]

    @property
    def device(self) -> torch.device:
        """Where features and held-out predictions are computed."""
        return process_device(self.accelerator)


def check_monitor(config: FinetuneESM2Config, head: HeadConfig) -> None:
    """Refuse to monitor what is not measured.

    Raises:
        ConfigError: The message names the metrics that there are.
    """
    known = ("val_loss", "train_loss", *metric_columns(head))
    if config.metric_to_monitor_for_checkpoints not in known:
        raise ConfigError(
            f"--metric-to-monitor-for-checkpoints {config.metric_to_monitor_for_checkpoints}: expected one of "
            f"{', '.join(known)}."
        )


class InputStatistics(pl.Callback):
    """Sets what a head of pooled sequences subtracts and divides by, before the first step.

    Args:
        data: Training sequences.
        sequences_per_batch: Of them that are run at once.
        seed: Of their order.
    """

    def __init__(self, data: LabeledProteinDataset, sequences_per_batch: int, seed: int) -> None:
        self._data = data
        self._loading = PackLoading(tokens_per_batch=None, sequences_per_batch=sequences_per_batch, seed=seed)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure; a resumed run has the statistics of its checkpoint."""
        if accounting_of(pl_module).progress.step == 0:
            with trainer.precision_plugin.forward_context():
                self.measure(pl_module.module, pl_module.device)

    @torch.no_grad()
    def measure(self, model: Any, device: torch.device) -> None:
        """Take mean and deviation of training sequences.

        Args:
            model: An `ESM2WithHead`; any other head than of pooled sequences is left alone.
            device: Where it is.
        """
        if isinstance(model.head, MegatronMLPHead):
            batches, number = build_pack_loader(self._data, self._loading), min(len(self._data), STATISTICS_SEQUENCES)
            model.head.standardize(inputs_of(model.head, model, batches, num_sequences=number, device=device))


def build_run_trainer(
    job: Job,
    run: RunDirectory,
    module: BionemoLightningModule,
    steps: Steps,
    optimizer: OptimizerConfig,
    metrics: HeadMetrics,
    loss: HeadLoss,
    *,
    statistics: InputStatistics,
    filling: WeightSource | None,
) -> pl.Trainer:
    """Build the trainer with everything that a run writes.

    Args:
        job: The run.
        run: Folder of this model.
        module: What is trained.
        steps: When what happens.
        optimizer: AdamW and its schedule.
        metrics: Measured in validations.
        loss: What is minimized.
        statistics: Standardizes the head's inputs.
        filling: Fills a model that is sharded when the ranks have met; None: it is whole.
    """
    config, step = job.config, module.progress.step
    model = module.module
    assert isinstance(model, ESM2WithHead)
    record = FineTuningIdentity(
        run_id=run.run_id() or new_run_id(),
        asked=config,
        derived={
            "accelerator": job.accelerator,
            "precision": job.precision,
            **vars(steps),
            "head": model.head_config.to_dict(),
        },
        optimizer=optimizer,
        architecture=model.config,
        package="bionemo-esm2",
    )
    monitor = config.metric_to_monitor_for_checkpoints
    writer = MetricsWriter(run, steps.log, start_step=step, texts=loss.plot_texts, validation=metrics)
    files = RunFiles(
        FinetunedLayout(),
        job.fingerprint,
        {"run_id": record.run_id, "precision": job.precision},
        model_card(job, optimizer, model.head_config),
    )
    sink = checkpoint_sink(
        files, sharded=filling is not None, gather_extra=AdapterGatherer(config) if config.lora_finetune else None
    )
    checkpoints = CheckpointWriter(
        run,
        sink,
        writer,
        job.stops,
        save_interval=steps.save,
        save_every_minutes=config.save_every_minutes,
        val_check_interval=steps.validation,
        save_top_k=config.save_top_k,
        save_best=config.save_best_checkpoint,
        save_last=config.save_last_checkpoint,
        monitor=monitor,
        higher_is_better=is_higher_better(monitor),
        run_id=record.run_id,
    )
    begin = RunBeginning(run, record, step, job.stops, job.begin)
    callbacks: list[pl.Callback] = [statistics, begin, writer, checkpoints]
    if config.early_stopping_patience is not None:
        callbacks.append(
            EarlyStopping(run, monitor, config.early_stopping_patience, higher_is_better=is_higher_better(monitor))
        )
    trainer = build_trainer(
        accelerator=job.accelerator,
        precision=job.precision,
        devices=config.num_gpus,
        num_nodes=config.num_nodes,
        max_steps=steps.end,
        val_check_interval=steps.validation,
        limit_val_batches=config.limit_val_batches,
        accumulate_grad_batches=config.accumulate_grad_batches,
        gradient_clip=optimizer.gradient_clip,
        callbacks=[*callbacks, ProgressBar(writer)],
        loggers=build_loggers(config),
        strategy=build_strategy(
            config, model, weights=filling, precision=job.precision, settings=to_mapping(config), start_step=step
        ),
    )
    if step:
        continue_from(trainer, step, trainer.accumulate_grad_batches)
    return trainer


def is_sharded_job(job: Job, model: ESM2WithHead) -> bool:
    """Choose between the whole model on each rank and a sharded one; see `is_sharded`."""
    return is_sharded(
        job.config,
        model.config,
        get_tokenizer().vocab_size,
        num_tokens=job.config.micro_batch_size * (int(job.examples.proteins.lengths.max()) + 2),
        accelerator=job.accelerator,
        precision=job.precision,
    )


def model_card(job: Job, optimizer: OptimizerConfig, head: HeadConfig) -> ModelCard:
    """Describe the model for its checkpoints."""
    config = job.config
    names = "encoder_frozen num_frozen_layers lora_finetune lora_rank lora_alpha class_weights split folds".split()
    targets = ", ".join(f"{target.column} ({target.kind})" for target in head.targets)
    return ModelCard(
        title=f"ESM-2 fine-tuned, run {config.experiment_name}",
        summary=f"ESM-2 fine-tuned to label {head.level}s by BioNeMo {installed_version('bionemo-llm')}; the metrics "
        "are of proteins that were held out.",
        opening="bionemo.esm2.FinetunedESM2.from_pretrained('{path}')",
        data={**given_data(config), "proteins": len(job.examples.proteins), "labels": targets},
        settings={
            "head": f"{head.kind}, hidden size {head.hidden_size}, dropout {head.dropout:g}",
            **{flag(name): getattr(config, name) for name in names},
            **optimizer_rows(optimizer),
            "proteins per micro-batch": config.micro_batch_size,
            "precision": job.precision,
            "seed": config.seed,
        },
        tags=("biology", "protein", "esm"),
        base_model=hub_name_of(config.restore_from_checkpoint_path),
    )
