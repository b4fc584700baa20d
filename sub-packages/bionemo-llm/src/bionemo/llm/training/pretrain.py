# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining of a masked-token model from one resolved configuration: data, model and engine, top to bottom.

A model family brings a `PretrainTask`; everything else is the same for all of them.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from bionemo.core.config import to_yaml
from bionemo.core.errors import ConfigError
from bionemo.core.files import write_text
from bionemo.core.ranks import process_rank
from bionemo.llm.checkpoints.hf_directory import HuggingFaceLayout
from bionemo.llm.checkpoints.training_state import TrainingState, check_agreement
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader
from bionemo.llm.data.packed_dataset import PackedDataset
from bionemo.llm.lightning import BionemoLightningModule, ForwardStep, LossFunction
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.model import ModelTokenizer
from bionemo.llm.training.callbacks import MetricsWriter, ProgressBar
from bionemo.llm.training.config import PretrainConfig
from bionemo.llm.training.engine import Engine, build_engine
from bionemo.llm.training.loss_plot import RESIDUE_FREQUENCIES_LABEL
from bionemo.llm.training.metrics_csv import MetricsCsv
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.trainer import (
    build_trainer,
    check_gpus,
    check_ranks,
    continue_from,
    resolve_accelerator,
)
from bionemo.llm.utils.logger_utils import WandbConfig, setup_nemo_lightning_logger


logger = logging.getLogger(__name__)

T = TypeVar("T")
PretrainConfigT = TypeVar("PretrainConfigT", bound=PretrainConfig)

GPU_TOKENS_PER_BATCH, CPU_TOKENS_PER_BATCH = 32_768, 4_096
MICRO_BATCH_SIZE = 64
"""Sequences of a micro-batch without packing."""


class Datasets(NamedTuple):
    """The sequences of a run: packed training and validation data; the last with every selected token masked."""

    train: PackedDataset
    valid: PackedDataset
    valid_masked: PackedDataset
    unigram_loss: float
    """Nats a validation token under the training frequencies: what can be predicted without a model."""


class Objective(NamedTuple):
    """What is learned beside, or in place of, hidden tokens."""

    forward_step: ForwardStep
    loss_function: LossFunction


@dataclass(frozen=True, kw_only=True)
class PretrainTask:
    """What a model family brings to a run.

    Attributes:
        name: Of the model, for the log.
        reference_label: What the picture calls the cross-entropy under the training frequencies.
        model_config: Architecture that the flags describe.
        vocabulary: Its size and special ids.
        layout: How checkpoints are named and which files go with them.
        optimizer: Its constants and its schedule.
        build_datasets: Opens the data of a run.
        agreement: Fields of the configuration that a continued run must share.
        start_from: Checkpoint that gives a new run its architecture and weights, or None.
        objective: None for the masked tokens alone; others are for the lightning engine without compilation.
    """

    name: str
    model_config: BioBertConfig
    vocabulary: ModelTokenizer
    layout: HuggingFaceLayout[Any]
    optimizer: OptimizerConfig
    build_datasets: Callable[[RunDirectory], Datasets]
    agreement: tuple[str, ...]
    start_from: Path | None = None
    objective: Objective | None = None
    reference_label: str = RESIDUE_FREQUENCIES_LABEL


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

    module: BionemoLightningModule
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
    log_start(config, task, datasets, module, resume)
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
        datasets.train, loading, position=module.progress.position, num_workers=config.num_dataset_workers
    )
    valid_loaders = [build_pack_loader(data, loading, epochs=1) for data in (datasets.valid, datasets.valid_masked)]
    return PreparedRun(module, trainer, train_loader, valid_loaders)


def required(value: T | None) -> T:
    """Give a setting that was checked or filled in before."""
    assert value is not None
    return value


def resolve(config: PretrainConfigT) -> PretrainConfigT:
    """Fill in what depends on the machine or on other settings, so that config.yaml says what was run.

    Raises:
        ConfigError: Settings do not fit together or this machine.
        ParallelismError: Another number of ranks was started than the settings say.
    """
    check_ranks(config.num_gpus, config.num_nodes)
    accelerator = resolve_accelerator(config.accelerator)
    check_gpus(accelerator, config.num_gpus)
    check_gpu_flags(config, accelerator)
    limit = config.sample_limit
    budget = config.tokens_per_batch
    if budget is None:
        default = GPU_TOKENS_PER_BATCH if accelerator == "gpu" else CPU_TOKENS_PER_BATCH
        if config.micro_batch_size is not None or not config.pack:
            default = (config.micro_batch_size or MICRO_BATCH_SIZE) * limit.max_tokens
        budget = max(default, limit.max_tokens)
    if budget < limit.max_tokens:
        raise ConfigError(f"--tokens-per-batch {budget} is below {limit.flag} {limit.max_tokens}: raise or lower one.")
    interval = min(config.val_check_interval, config.num_steps)
    return replace(
        config,
        accelerator=accelerator,
        engine=choose_engine(config),
        use_distributed_optimizer=uses_distributed_optimizer(config),
        tokens_per_batch=budget if config.pack else None,
        micro_batch_size=None if config.pack else budget // limit.max_tokens,
        val_check_interval=interval,
        save_interval=config.save_interval or interval,
        log_every_n_steps=config.log_every_n_steps or max(1, min(50, config.num_steps // 100)),
    )


def choose_engine(config: PretrainConfig) -> str:
    """Name the engine: the one that was asked for, else megatron where only that does what the flags say.

    Raises:
        ConfigError: The lightning engine is asked for, with something that only the megatron engine does.
    """
    wanted = config.megatron_flags()
    if config.engine == "lightning" and wanted:
        raise ConfigError(f"{wanted[0]}: needs the megatron engine. Leave --engine out, or give --engine megatron.")
    if config.engine == "auto":
        return "megatron" if wanted else "lightning"
    return config.engine


def uses_distributed_optimizer(config: PretrainConfig) -> bool:
    """Whether data-parallel ranks share the optimizer's state: on the megatron engine, unless it is switched off."""
    return choose_engine(config) == "megatron" and config.use_distributed_optimizer is not False


def check_gpu_flags(config: PretrainConfig, accelerator: str) -> None:
    """Refuse what only a GPU does elsewhere, and graphs where a replay would overwrite what is still needed.

    Raises:
        ConfigError: The message names the flag.
    """
    if accelerator != "gpu":
        for name, given in (("--compile", config.compile), ("--cuda-graphs", config.cuda_graphs)):
            if given:
                raise ConfigError(f"{name}: works on a GPU only. Leave it out on a CPU.")
        if config.attention != "auto":
            raise ConfigError(f"--attention {config.attention}: a GPU kernel. Leave it out on a CPU.")
    if config.cuda_graphs and config.num_gpus * config.num_nodes * config.accumulate_grad_batches > 1:
        raise ConfigError("--cuda-graphs: needs one GPU and --accumulate-grad-batches 1.")


def max_tokens_of_a_batch(config: PretrainConfig) -> int:
    """Budget of a pack, or without packing the tokens that the longest sequences of a micro-batch have."""
    return config.tokens_per_batch or required(config.micro_batch_size) * config.sample_limit.max_tokens


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
    module: BionemoLightningModule,
    agreement: dict[str, Any],
    unigram_loss: float,
) -> pl.Trainer:
    """Build the trainer with everything that a run writes."""
    csv = None
    if process_rank() == 0:
        csv = MetricsCsv.resume_from(run.metrics_path, module.progress.step)
    metrics = MetricsWriter(run, csv, required(config.log_every_n_steps), unigram_loss, task.reference_label)
    callbacks: list[pl.Callback] = [*engine.callbacks(), metrics]
    if not config.disable_checkpointing:
        writer = engine.checkpoint_writer(
            module,
            agreement,
            run=run,
            metrics=metrics,
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
    if module.progress.step:
        continue_from(trainer, module.progress.step, trainer.accumulate_grad_batches)
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
    module: BionemoLightningModule,
    resume: TrainingState | None,
) -> None:
    """Say once what is run on what."""
    shape = module.config
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
        logger.info("continuing after step %d", module.progress.step)
        if resume.num_threads != torch.get_num_threads():
            logger.warning(
                "the run had %d threads, this one has %d: on a CPU the last bits may differ",
                resume.num_threads,
                torch.get_num_threads(),
            )
