# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining of a masked-token model from one resolved configuration: data, model and engine, top to bottom.

A model family brings a `PretrainTask`; everything else is the same for all of them.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from bionemo.core.config import to_yaml
from bionemo.core.errors import ConfigError
from bionemo.core.files import write_text
from bionemo.core.ranks import process_rank
from bionemo.llm.checkpoints.training_state import TrainingState, check_agreement
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.training.callbacks import MetricsWriter, ProgressBar
from bionemo.llm.training.checkpoint_writer import CheckpointWriter
from bionemo.llm.training.config import PretrainConfig
from bionemo.llm.training.engine import Engine, build_engine
from bionemo.llm.training.metrics_csv import MetricsCsv
from bionemo.llm.training.resolve import required
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.step_accounting import accounting_of
from bionemo.llm.training.task import Datasets, PretrainTask
from bionemo.llm.training.trainer import build_trainer, continue_from
from bionemo.llm.utils.logger_utils import WandbConfig, setup_nemo_lightning_logger


logger = logging.getLogger(__name__)


def pretrain(config: PretrainConfig, task: PretrainTask) -> Path:
    """Train, and leave a run directory.

    Args:
        config: Resolved settings of the command.
        task: What the model family brings.

    Returns:
        The run directory.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    run = RunDirectory(config.result_dir / config.experiment_name)
    if process_rank() == 0:
        run.prepare(resume=config.resume_if_exists)
    with log_file(run.log_path):
        prepared = prepare_run(config, task, run)
        prepared.trainer.fit(prepared.module, prepared.train_loader, prepared.valid_loaders)
    return run.path


class PreparedRun(NamedTuple):
    """A run that is ready to be fitted."""

    module: pl.LightningModule
    trainer: pl.Trainer
    train_loader: DataLoader[Any]
    valid_loaders: list[DataLoader[Any]]


def prepare_run(config: PretrainConfig, task: PretrainTask, run: RunDirectory) -> PreparedRun:
    """Open the data, build model, engine and trainer, and find where to go on.

    Args:
        config: Resolved settings of the command.
        task: What the model family brings.
        run: A prepared run directory.

    Raises:
        BionemoError: Bad input; the message says which.
    """
    engine = build_engine(config, task)
    datasets = task.build_datasets(run)
    checkpoint = run.latest_checkpoint() if config.resume_if_exists else None
    resume = None if checkpoint is None else engine.read_state(checkpoint)
    agreement = run_agreement(config, task, engine, datasets)
    if resume is not None:
        assert checkpoint is not None
        check_agreement(resume, compared(agreement, resume), checkpoint)
    module = engine.build_module(checkpoint, resume)
    if process_rank() == 0:
        write_text(run.config_path, to_yaml(config))
    trainer = build_run_trainer(config, task, engine, run, module, agreement, datasets.unigram_loss)
    log_start(config, task, datasets, engine.architecture(module), resume)
    rank, world_size = engine.data_share(trainer.global_rank, trainer.world_size)
    loading = PackLoading(
        tokens_per_batch=config.tokens_per_batch,
        sequences_per_batch=config.micro_batch_size,
        seed=config.seed,
        rank=rank,
        world_size=world_size,
        pin_memory=config.accelerator == "gpu",
        collate=engine.collate(module),
    )
    train_loader = build_pack_loader(
        datasets.train,
        loading,
        position=accounting_of(module).progress.position,
        num_workers=config.num_dataset_workers,
    )
    valid_loaders = [build_pack_loader(data, loading, epochs=1) for data in (datasets.valid, datasets.valid_masked)]
    return PreparedRun(module, trainer, train_loader, valid_loaders)


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append the log of the first rank to a file."""
    if process_rank() != 0:
        yield
        return
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("bionemo")
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def run_agreement(config: PretrainConfig, task: PretrainTask, engine: Engine, datasets: Datasets) -> dict[str, Any]:
    """Settings that make a run this run: a continued one must share them."""
    shared = (
        "seed tokens_per_batch micro_batch_size mask_prob mask_token_prob random_token_prob lr weight_decay "
        "accumulate_grad_batches"
    ).split()
    agreement = {name: getattr(config, name) for name in (*shared, *task.agreement)}
    _, num_shares = engine.data_share(0, config.num_gpus * config.num_nodes)
    return {
        **agreement,
        "packs_per_step": config.accumulate_grad_batches * num_shares,
        "num_sequences": len(datasets.train),
        "unigram_loss": datasets.unigram_loss,
    }


def compared(agreement: dict[str, Any], resume: TrainingState) -> dict[str, Any]:
    """Choose what a continued run is held to.

    Other ranks may make a step of the same packs, or of as many packs each: one of the two numbers has to agree.
    """
    same_steps = resume.agreement.get("packs_per_step") == agreement["packs_per_step"]
    ignored = {"packs_per_step", "accumulate_grad_batches"} if same_steps else {"packs_per_step"}
    return {name: value for name, value in agreement.items() if name not in ignored}


def build_run_trainer(
    config: PretrainConfig,
    task: PretrainTask,
    engine: Engine,
    run: RunDirectory,
    module: pl.LightningModule,
    agreement: dict[str, Any],
    unigram_loss: float,
) -> pl.Trainer:
    """Build the trainer with everything that a run writes."""
    step = accounting_of(module).progress.step
    csv = MetricsCsv.resume_from(run.metrics_path, step) if process_rank() == 0 else None
    metrics = MetricsWriter(run, csv, required(config.log_every_n_steps), unigram_loss, task.reference_label)
    callbacks: list[pl.Callback] = [*engine.callbacks(), metrics]
    if not config.disable_checkpointing:
        writer = CheckpointWriter(
            run,
            engine.checkpoint_sink(agreement),
            metrics,
            save_interval=required(config.save_interval),
            val_check_interval=config.val_check_interval,
            save_top_k=config.save_top_k,
            save_best=config.save_best_checkpoint,
            save_last=config.save_last_checkpoint,
            monitor=config.metric_to_monitor_for_checkpoints,
        )
        callbacks.append(writer)
    callbacks.append(ProgressBar(metrics))
    trainer = build_trainer(
        accelerator=config.accelerator,
        devices=config.num_gpus,
        num_nodes=config.num_nodes,
        max_steps=min(config.num_steps, config.early_stop_on_step or config.num_steps),
        val_check_interval=config.val_check_interval,
        limit_val_batches=config.limit_val_batches,
        callbacks=callbacks,
        loggers=build_loggers(config),
        **engine.trainer_settings(module),
    )
    if step:
        continue_from(trainer, step, trainer.accumulate_grad_batches)
    return trainer


def build_loggers(config: PretrainConfig) -> list[Any]:
    """Build the loggers that the flags ask for, beside metrics.csv."""
    names = "entity project group id job_type tags offline anonymous log_model".split()
    wandb = {name: getattr(config, f"wandb_{name}") for name in names}
    if config.wandb_project is None and any(wandb.values()):
        raise ConfigError("--wandb-project is required beside the other --wandb flags.")
    if not config.create_tensorboard_logger and config.wandb_project is None:
        return []
    return setup_nemo_lightning_logger(
        config.experiment_name,
        config.result_dir,
        initialize_tensorboard_logger=config.create_tensorboard_logger,
        wandb_config=WandbConfig(**wandb) if config.wandb_project else None,
    ).loggers


def log_start(
    config: PretrainConfig,
    task: PretrainTask,
    datasets: Datasets,
    shape: BioBertConfig,
    resume: TrainingState | None,
) -> None:
    """Say once what is run on what."""
    logger.info(
        "%s with %d layers of %d channels on %s; %d training and %d validation sequences; torch %s, seed %d",
        task.name,
        shape.num_layers,
        shape.hidden_size,
        config.accelerator,
        len(datasets.train),
        len(datasets.valid),
        torch.__version__,
        config.seed,
    )
    logger.info("validation tokens under the training frequencies: %.4f nats", datasets.unigram_loss)
    if resume is not None:
        logger.info("continuing after step %d", resume.progress.step)
        if resume.num_threads != torch.get_num_threads():
            logger.warning(
                "the run had %d threads, this one has %d: on a CPU the last bits may differ",
                resume.num_threads,
                torch.get_num_threads(),
            )
