# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining of ESM-2 from one resolved configuration: the assembly of data, model and engine, top to bottom."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from bionemo.core.config import to_yaml
from bionemo.core.data.size_aware_batching import PlanPosition, TokenBudgetBatchSampler
from bionemo.core.errors import ConfigError
from bionemo.core.files import write_text
from bionemo.core.ranks import process_rank
from bionemo.esm2.data.cluster_files import ClusterIds, create_valid_clusters, read_train_clusters
from bionemo.esm2.data.packed_dataset import PackedProteinDataset, build_masking, split_train_valid
from bionemo.esm2.data.sequence_store import Clusters, SequenceSource
from bionemo.esm2.data.sequence_store_writer import open_or_build_store
from bionemo.esm2.data.sqlite_dataset import ProteinSQLiteDataset, SQLiteSequenceSource
from bionemo.esm2.data.tokenizer import RandomMaskStrategy, get_tokenizer
from bionemo.esm2.data.unigram import unigram_cross_entropy
from bionemo.esm2.model.hf_layout import ESM2Layout
from bionemo.esm2.model.model import ESM2Config, ESM2Model, esm2_config
from bionemo.esm2.scripts.train_esm2 import TrainESM2Config
from bionemo.llm.callbacks import CheckpointWriter, MetricsWriter, ProgressBar
from bionemo.llm.checkpoint import load_checkpoint, load_state, save_checkpoint
from bionemo.llm.lightning import BionemoLightningModule, packed_forward_step, packed_loss
from bionemo.llm.metrics_csv import MetricsCsv
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.optimizer import OptimizerConfig
from bionemo.llm.run_directory import RunDirectory
from bionemo.llm.trainer import build_trainer, continue_from, resolve_accelerator, resolve_precision
from bionemo.llm.training_state import TrainingState, check_agreement, read_training_state, write_training_state
from bionemo.llm.utils.logger_utils import WandbConfig, setup_nemo_lightning_logger


logger = logging.getLogger(__name__)

T = TypeVar("T")

GPU_TOKENS_PER_BATCH, CPU_TOKENS_PER_BATCH = 32_768, 4_096
MICRO_BATCH_SIZE = 64
"""Sequences of a micro-batch without packing."""


class Datasets(NamedTuple):
    """The sequences of a run: packed training and validation data; the last with every selected residue masked."""

    train: PackedProteinDataset
    valid: PackedProteinDataset
    valid_masked: PackedProteinDataset
    unigram_loss: float


def train(config: TrainESM2Config) -> Path:
    """Train, and leave a run directory.

    Args:
        config: Settings of the command.

    Returns:
        The run directory.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    config = resolve(config)
    run = RunDirectory(config.result_dir / config.experiment_name)
    if process_rank() == 0:
        run.prepare(resume=config.resume_if_exists)
    with log_file(run.log_path):
        datasets = build_datasets(config, run)
        checkpoint = run.latest_checkpoint() if config.resume_if_exists else None
        resume = None if checkpoint is None else read_training_state(checkpoint)
        agreement = run_agreement(config, datasets)
        if resume is not None:
            assert checkpoint is not None
            check_agreement(resume, agreement, checkpoint)
        module = build_module(config, checkpoint, resume)
        if process_rank() == 0:
            write_text(run.config_path, to_yaml(config))
        trainer = build_run_trainer(config, run, module, agreement, resume, datasets.unigram_loss)
        log_start(config, datasets, module, resume)
        loaders = build_loaders(config, datasets, module.progress.position, trainer.global_rank, trainer.world_size)
        trainer.fit(module, loaders[0], loaders[1:])
    return run.path


def required(value: T | None) -> T:
    """Give a setting that was checked or filled in before."""
    assert value is not None
    return value


def resolve(config: TrainESM2Config) -> TrainESM2Config:
    """Fill in what depends on the machine or on other settings, so that config.yaml says what was run.

    Raises:
        ConfigError: Settings do not fit together or this machine.
    """
    accelerator = resolve_accelerator(config.accelerator)
    if config.compile and accelerator != "gpu":
        raise ConfigError("--compile: layers are compiled for a GPU only. Leave it out on a CPU.")
    steps = config.scheduler_num_steps or config.num_steps
    budget = config.tokens_per_batch
    if budget is None:
        default = GPU_TOKENS_PER_BATCH if accelerator == "gpu" else CPU_TOKENS_PER_BATCH
        if config.micro_batch_size is not None or not config.pack:
            default = (config.micro_batch_size or MICRO_BATCH_SIZE) * config.max_seq_length
        budget = max(default, config.max_seq_length)
    if budget < config.max_seq_length:
        raise ConfigError(
            f"--tokens-per-batch {budget} is below --max-seq-length {config.max_seq_length}: raise or lower one."
        )
    if config.min_seq_length is not None:
        logger.warning("--min-seq-length %d is ignored: batches are packed, nothing is padded.", config.min_seq_length)
    interval = min(config.val_check_interval, config.num_steps)
    resolved = replace(
        config,
        accelerator=accelerator,
        engine="lightning",
        tokens_per_batch=budget if config.pack else None,
        micro_batch_size=None if config.pack else budget // config.max_seq_length,
        warmup_steps=min(2000, steps // 10) if config.warmup_steps is None else config.warmup_steps,
        scheduler_num_steps=steps,
        val_check_interval=interval,
        save_interval=config.save_interval or interval,
        log_every_n_steps=config.log_every_n_steps or max(1, min(50, config.num_steps // 100)),
    )
    if required(resolved.warmup_steps) > steps:
        raise ConfigError(f"--warmup-steps {resolved.warmup_steps} exceeds the schedule's {steps} steps.")
    return resolved


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


class Records(NamedTuple):
    """Where samples come from: the sequences, which of them stand for each other, and which records are meant."""

    source: SequenceSource
    clusters: Clusters | None
    subset: NDArray[np.int64] | None = None


def open_records(config: TrainESM2Config, run: RunDirectory) -> tuple[Records, Records]:
    """Open the training and the validation sequences, from whichever of the two kinds of input was given."""
    if config.train_fasta is None:
        return (
            sqlite_records(read_train_clusters(required(config.train_cluster_path)), config.train_database_path),
            sqlite_records(create_valid_clusters(required(config.valid_cluster_path)), config.valid_database_path),
        )
    store = open_or_build_store(config.train_fasta, run.data_dir / "train")
    if config.valid_fasta is not None:
        valid_store = open_or_build_store(config.valid_fasta, run.data_dir / "valid")
        return Records(store, store.clusters), Records(valid_store, valid_store.clusters)
    num_records = len(store) if store.clusters is None else len(store.clusters.offsets) - 1
    train_idx, valid_idx = split_train_valid(num_records, config.valid_fraction, config.seed)
    return Records(store, store.clusters, train_idx), Records(store, store.clusters, valid_idx)


def sqlite_records(clusters: ClusterIds, database_path: Path | None) -> Records:
    """Read the established pair of cluster and database file."""
    return Records(SQLiteSequenceSource(ProteinSQLiteDataset(required(database_path)), clusters), clusters.clusters)


def build_datasets(config: TrainESM2Config, run: RunDirectory) -> Datasets:
    """Open the sequences of a run, packed and masked for training and for both validation losses."""

    def dataset(records: Records, *, mask_all: bool = False) -> PackedProteinDataset:
        return PackedProteinDataset(
            records.source,
            subset=records.subset,
            clusters=records.clusters,
            seed=config.seed,
            max_seq_length=config.max_seq_length,
            max_tokens=config.tokens_per_batch or (config.micro_batch_size or 0) * config.max_seq_length,
            masking=build_masking(
                seed=config.seed,
                mask_prob=config.mask_prob,
                mask_token_prob=1.0 if mask_all else config.mask_token_prob,
                random_token_prob=0.0 if mask_all else config.random_token_prob,
                strategy=RandomMaskStrategy(config.random_mask_strategy),
            ),
        )

    train_records, valid_records = open_records(config, run)
    train_data, valid_data = dataset(train_records), dataset(valid_records)
    line = unigram_cross_entropy(train_data, valid_data)
    return Datasets(train_data, valid_data, dataset(valid_records, mask_all=True), line)


def build_sampler(
    config: TrainESM2Config,
    dataset: PackedProteinDataset,
    *,
    position: PlanPosition,
    rank: int,
    world_size: int,
    epochs: int | None,
) -> TokenBudgetBatchSampler:
    """Plan the packs of a dataset: endless and shuffled for training, one pass in order for validation."""
    lengths: Any = dataset.token_lengths
    budget = config.tokens_per_batch
    if budget is None:  # --no-pack: every sequence counts one, a pack is a fixed number of them
        lengths, budget = sequence_counts, required(config.micro_batch_size)
    return TokenBudgetBatchSampler(
        lengths,
        budget,
        num_samples=len(dataset),
        seed=config.seed,
        shuffle=epochs is None,
        num_epochs=epochs,
        rank=rank,
        world_size=world_size,
        position=position,
    )


def sequence_counts(epoch: int, idxs: np.ndarray) -> np.ndarray:
    """Count every sequence as one."""
    return np.ones(len(idxs), dtype=np.int64)


def as_is(batch: Any) -> Any:
    """Leave a batch as the dataset made it."""
    return batch


def build_loaders(
    config: TrainESM2Config, datasets: Datasets, position: PlanPosition, rank: int, world_size: int
) -> list[DataLoader]:
    """Build the loaders of training and of the two validation losses."""

    def loader(dataset: PackedProteinDataset, sampler: TokenBudgetBatchSampler, num_workers: int) -> DataLoader:
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=as_is,
            pin_memory=config.accelerator == "gpu",
            persistent_workers=num_workers > 0,
        )

    start = PlanPosition(0, 0)
    shared: dict[str, Any] = {"rank": rank, "world_size": world_size}
    train_sampler = build_sampler(config, datasets.train, position=position, epochs=None, **shared)
    loaders = [loader(datasets.train, train_sampler, config.num_dataset_workers)]
    for dataset in (datasets.valid, datasets.valid_masked):
        loaders.append(loader(dataset, build_sampler(config, dataset, position=start, epochs=1, **shared), 0))
    return loaders


def build_module(
    config: TrainESM2Config, checkpoint: Path | None, resume: TrainingState | None
) -> BionemoLightningModule:
    """Build the model, with random weights or those of the checkpoint that the run starts from or goes on with."""
    source = checkpoint or config.restore_from_checkpoint_path or config.init_from_hf
    wanted = model_config(config)
    if source is None:
        model = build_model(wanted, get_tokenizer(), seed=config.seed)
    else:
        loaded = load_checkpoint(source, ESM2Layout())
        if checkpoint is not None and replace(loaded.config, biobert_spec_option=config.biobert_spec_option) != wanted:
            raise ConfigError(f"{source}: holds a model of another shape than the flags describe; give the run's own.")
        model = build_model(loaded.config, get_tokenizer(), seed=config.seed)
        load_state(model, loaded.state, source)
    if config.compile:
        model.static_shapes = True
        for layer in model.encoder.layers:
            layer.compile()
    optimizer = OptimizerConfig(
        lr=config.lr,
        warmup_steps=config.warmup_steps or 0,
        max_steps=config.scheduler_num_steps or config.num_steps,
        weight_decay=config.weight_decay,
    )
    return BionemoLightningModule(
        model.bert_config,
        packed_forward_step,
        optimizer=optimizer,
        loss_function=packed_loss,
        module=model,
        resume=resume,
    )


def model_config(config: TrainESM2Config) -> ESM2Config:
    """Architecture that the flags describe."""
    if config.model is not None:
        return esm2_config(config.model, biobert_spec_option=config.biobert_spec_option)
    return ESM2Config(
        num_layers=config.num_layers,
        hidden_size=config.hidden_size,
        num_attention_heads=config.num_attention_heads,
        ffn_hidden_size=config.ffn_hidden_size,
        biobert_spec_option=config.biobert_spec_option,
    )


def run_agreement(config: TrainESM2Config, datasets: Datasets) -> dict[str, Any]:
    """Settings that make a run this run: a continued one must share them."""
    names = (
        "seed max_seq_length tokens_per_batch micro_batch_size mask_prob mask_token_prob random_token_prob "
        "random_mask_strategy lr warmup_steps scheduler_num_steps weight_decay accumulate_grad_batches"
    ).split()
    agreement = {name: getattr(config, name) for name in names}
    return {**agreement, "num_sequences": len(datasets.train), "unigram_loss": datasets.unigram_loss}


def build_run_trainer(
    config: TrainESM2Config,
    run: RunDirectory,
    module: BionemoLightningModule,
    agreement: dict[str, Any],
    resume: TrainingState | None,
    unigram_loss: float,
) -> pl.Trainer:
    """Build the trainer with everything that a run writes."""
    csv = None
    if process_rank() == 0:
        csv = MetricsCsv.resume_from(run.metrics_path, module.progress.step)
    metrics = MetricsWriter(run, csv, required(config.log_every_n_steps), reference_line=unigram_loss)
    callbacks: list[pl.Callback] = [metrics]
    if not config.disable_checkpointing:

        def write(path: Path, latest: dict[str, float]) -> None:
            save_run_checkpoint(path, module, agreement, latest)

        callbacks.append(
            CheckpointWriter(
                run,
                write,
                metrics,
                save_interval=required(config.save_interval),
                val_check_interval=config.val_check_interval,
                save_top_k=config.save_top_k,
                save_best=config.save_best_checkpoint,
                save_last=config.save_last_checkpoint,
                monitor=config.metric_to_monitor_for_checkpoints,
            )
        )
    callbacks.append(ProgressBar(metrics))
    trainer = build_trainer(
        accelerator=config.accelerator,
        precision=resolve_precision(config.precision, config.accelerator),
        devices=config.num_gpus,
        num_nodes=config.num_nodes,
        max_steps=min(config.num_steps, config.early_stop_on_step or config.num_steps),
        val_check_interval=config.val_check_interval,
        limit_val_batches=config.limit_val_batches,
        accumulate_grad_batches=config.accumulate_grad_batches,
        gradient_clip=module.optimizer_config.gradient_clip,
        callbacks=callbacks,
        loggers=build_loggers(config),
    )
    if resume is not None:
        continue_from(trainer, module.progress.step, config.accumulate_grad_batches)
    return trainer


def build_loggers(config: TrainESM2Config) -> list[Any]:
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


def save_run_checkpoint(
    path: Path, module: BionemoLightningModule, agreement: dict[str, Any], metrics: dict[str, float]
) -> None:
    """Write the checkpoint of the current step: the model for everybody, the training state for a resume."""
    model = module.module
    assert isinstance(model, ESM2Model)
    assert isinstance(model.bert_config, ESM2Config)
    optimizer = module.optimizers(use_pl_optimizer=False)
    schedule = module.lr_schedulers()

    def write_more(directory: Path) -> None:
        write_training_state(directory, model, optimizer, schedule, module.progress, agreement, metrics=metrics)

    save_checkpoint(path, model.bert_config, model.state_dict(), ESM2Layout(), write_more=write_more)


def log_start(
    config: TrainESM2Config, datasets: Datasets, module: BionemoLightningModule, resume: TrainingState | None
) -> None:
    """Say once what is run on what."""
    shape = model_config(config)
    logger.info(
        "ESM-2 with %d layers of %d channels on %s; %d training and %d validation sequences; torch %s, seed %d",
        shape.num_layers,
        shape.hidden_size,
        config.accelerator,
        len(datasets.train),
        len(datasets.valid),
        torch.__version__,
        config.seed,
    )
    logger.info("validation residues under the training frequencies: %.4f nats", datasets.unigram_loss)
    if resume is not None:
        logger.info("continuing after step %d", module.progress.step)
        if resume.num_threads != torch.get_num_threads():
            logger.warning(
                "the run had %d threads, this one has %d: on a CPU the last bits may differ",
                resume.num_threads,
                torch.get_num_threads(),
            )
