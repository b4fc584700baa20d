# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining of a masked-token model from resolved settings: data, model and training engine, top to bottom.

A model family brings a `PretrainTask`; everything else is the same for all of them.
"""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from bionemo.core.errors import ConfigError
from bionemo.core.ranks import process_rank
from bionemo.llm.checkpoints.training_state import check_fingerprint
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.training.callbacks import MetricsWriter, ProgressBar
from bionemo.llm.training.checkpoint_writer import CheckpointWriter
from bionemo.llm.training.engine import Engine, build_engine
from bionemo.llm.training.ranks.lost_ranks import ending_together
from bionemo.llm.training.ranks.strategies import current_lifeline
from bionemo.llm.training.resolve import ResolvedRun
from bionemo.llm.training.resume import (
    ResumePoint,
    compared,
    find_resume_point,
    plan_schedule,
    run_fingerprint,
    warn_about_changes,
)
from bionemo.llm.training.run_beginning import RunBeginning, RunIdentity
from bionemo.llm.training.run_card import pretraining_card
from bionemo.llm.training.run_directory import RunDirectory, new_run_id, run_id_of
from bionemo.llm.training.run_session import run_session
from bionemo.llm.training.step_accounting import accounting_of
from bionemo.llm.training.stop_requests import StopRequests
from bionemo.llm.training.summary import summarize_run
from bionemo.llm.training.task import Datasets, PretrainTask
from bionemo.llm.training.trainer import build_trainer, continue_from
from bionemo.llm.utils.logger_utils import WandbConfig, setup_nemo_lightning_logger


logger = logging.getLogger(__name__)


def pretrain(resolved: ResolvedRun, task: PretrainTask) -> Path:
    """Train, and leave a run directory.

    Args:
        resolved: Settings of the run.
        task: What the model family brings.

    Returns:
        The run directory.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
        RunStopped: SIGINT or SIGTERM asked for it; what was trained is saved.
    """
    run = RunDirectory(resolved.asked.result_dir / resolved.asked.experiment_name)
    with run_session(resolved.asked, run) as session:
        resolved = replace(resolved, asked=session.config)
        prepared = prepare_run(resolved, task, run, stops=session.stops, begin_log=session.begin_log)
        started = time.monotonic()
        with ending_together(current_lifeline):
            prepared.trainer.fit(prepared.module, prepared.train_loader, prepared.valid_loaders)
        if process_rank() == 0:
            opening = task.opening if resolved.engine == "lightning" else "consolidate_checkpoint {path} OUT_DIR"
            seconds = time.monotonic() - started
            sys.stderr.write(
                summarize_run(run, seconds=seconds, unigram_loss=prepared.unigram_loss, opening=opening) + "\n"
            )
    return run.path


class PreparedRun(NamedTuple):
    """A run that is ready to be fitted."""

    module: pl.LightningModule
    trainer: pl.Trainer
    train_loader: DataLoader[Any]
    valid_loaders: list[DataLoader[Any]]
    unigram_loss: float


def prepare_run(
    resolved: ResolvedRun,
    task: PretrainTask,
    run: RunDirectory,
    *,
    stops: StopRequests | None = None,
    begin_log: Callable[[], None] = lambda: None,
) -> PreparedRun:
    """Open the data, build model, training engine and trainer, and find where to resume.

    Args:
        resolved: Settings of the run.
        task: What the model family brings.
        run: Its folder.
        stops: What signals ask for.
        begin_log: Called when the run has begun.

    Raises:
        BionemoError: Bad input; the message says which.
    """
    config = resolved.asked
    engine = build_engine(resolved, task)
    datasets = task.build_datasets(run)
    point = find_resume_point(config, run, engine.read_state)
    fingerprint = run_fingerprint(resolved, task, engine, datasets)
    checkpoint = state = None
    if point is not None:
        check_fingerprint(point.state, compared(fingerprint, point.state), point.checkpoint)
        checkpoint, state = point.checkpoint, plan_schedule(resolved, task, point.state)
    module = engine.build_module(checkpoint, state)
    shape = engine.architecture(module)
    run_id = run.run_id() or (run_id_of(checkpoint) if checkpoint is not None else None) or new_run_id()
    identity = RunIdentity(run_id=run_id, resolved=resolved, optimizer=task.optimizer, architecture=shape)
    stops = stops or StopRequests()
    beginning = RunBeginning(run, identity, accounting_of(module).progress.step, stops, begin_log)
    trainer = build_run_trainer(
        resolved, task, engine, run, module, fingerprint,
        datasets=datasets, stops=stops, beginning=beginning,
    )  # fmt: skip
    log_start(resolved, task, datasets, shape, point)
    rank, world_size = engine.data_share(trainer.global_rank, trainer.world_size)
    loading = PackLoading(
        tokens_per_batch=resolved.max_tokens if config.pack else None,
        sequences_per_batch=resolved.sequences_per_batch,
        seed=config.seed,
        rank=rank,
        world_size=world_size,
        pin_memory=resolved.accelerator == "gpu",
        collate=engine.collate(module),
        ignore_stop_signals=True,
    )
    position = accounting_of(module).progress.position
    train_loader = build_pack_loader(
        datasets.train, loading, position=position, num_workers=config.num_dataset_workers
    )
    valid_loaders = [build_pack_loader(data, loading, epochs=1) for data in (datasets.valid, datasets.valid_masked)]
    return PreparedRun(module, trainer, train_loader, valid_loaders, datasets.unigram_loss)


def build_run_trainer(
    resolved: ResolvedRun,
    task: PretrainTask,
    engine: Engine,
    run: RunDirectory,
    module: pl.LightningModule,
    fingerprint: dict[str, Any],
    *,
    datasets: Datasets,
    stops: StopRequests,
    beginning: RunBeginning,
) -> pl.Trainer:
    """Build the trainer with everything that a run writes."""
    config, step = resolved.asked, accounting_of(module).progress.step
    metrics = MetricsWriter(
        run, resolved.log_every_n_steps, datasets.unigram_loss, task.reference_label, start_step=step
    )
    run_id = beginning.record.run_id
    record = {"run_id": run_id, "precision": resolved.precision}
    card = pretraining_card(resolved, task, datasets)
    writer = CheckpointWriter(
        run,
        None if config.disable_checkpointing else engine.checkpoint_sink(fingerprint, record, card),
        metrics,
        stops,
        save_interval=resolved.save_interval,
        save_every_minutes=config.save_every_minutes,
        val_check_interval=resolved.val_check_interval,
        save_top_k=config.save_top_k,
        save_best=config.save_best_checkpoint,
        save_last=config.save_last_checkpoint,
        monitor=config.metric_to_monitor_for_checkpoints,
        run_id=run_id,
    )
    trainer = build_trainer(
        accelerator=resolved.accelerator,
        devices=config.num_gpus,
        num_nodes=config.num_nodes,
        max_steps=resolved.max_steps,
        val_check_interval=resolved.val_check_interval,
        limit_val_batches=config.limit_val_batches,
        callbacks=[beginning, *engine.callbacks(), metrics, writer, ProgressBar(metrics)],
        loggers=build_loggers(config),
        **engine.trainer_settings(module),
    )
    if step:
        continue_from(trainer, step, trainer.accumulate_grad_batches)
    return trainer


def build_loggers(config: Any) -> list[Any]:
    """Build the loggers that the flags ask for, beside metrics.csv.

    Args:
        config: Has the flags of Weights & Biases and of TensorBoard as `PretrainConfig` declares them.
    """
    names = "entity project group id job_type tags offline anonymous log_model".split()
    wandb: dict[str, Any] = {name: getattr(config, f"wandb_{name}", None) for name in names}
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
    resolved: ResolvedRun, task: PretrainTask, datasets: Datasets, shape: BioBertConfig, point: ResumePoint | None
) -> None:
    """Log model, device and dataset sizes, and where a resumed run stands."""
    logger.info(
        "%s with %d layers of hidden size %d on %s in %s; %d training and %d validation sequences; torch %s, seed %d",
        task.name,
        shape.num_layers,
        shape.hidden_size,
        resolved.accelerator,
        resolved.precision,
        len(datasets.train),
        len(datasets.valid),
        torch.__version__,
        resolved.asked.seed,
    )
    logger.info("unigram cross-entropy of the validation tokens: %.4f nats/token", datasets.unigram_loss)
    if point is not None:
        logger.info("resuming from step %d (checkpoint %s)", point.state.progress.step, point.checkpoint)
        warn_about_changes(resolved, point.state)
