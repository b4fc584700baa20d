# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of ESM-2: labeled proteins, a head, and the training engine of pretraining.

A run folder holds ``checkpoints/``, ``metrics.csv`` and ``loss.png`` of the training (in cross-validation in
``fold-0/``, ...), then ``predictions.csv`` and ``scores.json`` of what was held out and pictures of it.
"""

import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray

from bionemo.core.config import to_mapping
from bionemo.core.progress import format_seconds
from bionemo.core.ranks import process_rank
from bionemo.esm2.finetuning.config import MEGATRON_FIELDS, FinetuneESM2Config, check_flags
from bionemo.esm2.finetuning.dataset import LabeledProteinDataset
from bionemo.esm2.finetuning.examples import Examples, read_examples, splits_of
from bionemo.esm2.finetuning.features import cached_features, features_path
from bionemo.esm2.finetuning.heads import ESM2WithHead
from bionemo.esm2.finetuning.held_out import HeldOut, predict_held_out, write_held_out
from bionemo.esm2.finetuning.labeled_proteins import REJECTED_NAME, write_rejected
from bionemo.esm2.finetuning.loss import HeadLoss, HeadMetrics, balanced_weights, head_forward_step
from bionemo.esm2.finetuning.model_setup import build_module, saved_config
from bionemo.esm2.finetuning.run_trainer import (
    InputStatistics,
    Job,
    build_run_trainer,
    check_monitor,
    is_sharded_job,
)
from bionemo.esm2.finetuning.splits import Split
from bionemo.esm2.finetuning.steps import Steps, optimizer_config, plan_steps
from bionemo.llm.checkpoints.hf_directory import file_checksum
from bionemo.llm.checkpoints.model_source import model_fingerprint
from bionemo.llm.checkpoints.training_state import check_fingerprint, read_training_state
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader
from bionemo.llm.lightning import BionemoLightningModule
from bionemo.llm.training.config import flag
from bionemo.llm.training.lr_finder import draw_range_test, find_learning_rate
from bionemo.llm.training.ranks.fine_tuning import check_strategy
from bionemo.llm.training.ranks.lost_ranks import ending_together
from bionemo.llm.training.ranks.strategies import current_lifeline
from bionemo.llm.training.resume import find_resume_point
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.run_session import run_session
from bionemo.llm.training.trainer import check_gpus, check_ranks, resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)

FINGERPRINT_FIELDS = (
    *"label_column labels_mask_column task_type head mlp_ft_dropout mlp_hidden_size cnn_dropout".split(),
    *"cnn_hidden_size encoder_frozen num_frozen_layers lora_finetune lora_rank lora_alpha class_weights".split(),
    *"num_epochs num_steps lr scale_lr_layer lr_multiplier warmup_steps weight_decay micro_batch_size".split(),
    *"accumulate_grad_batches val_check_interval limit_val_batches seed folds split valid_fraction".split(),
    *"test_fraction cluster_identity early_stopping_patience max_seq_length crop_length find_lr".split(),
)
"""Settings that a resumed run must share."""


def finetune(config: FinetuneESM2Config) -> Path:
    """Fine-tune, and leave a run directory.

    Args:
        config: Settings of the command.

    Returns:
        The run directory.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
        RunStopped: SIGINT or SIGTERM asked for it; what was trained is saved.
    """
    check_flags(config)
    check_ranks(config.num_gpus, config.num_nodes)
    accelerator = resolve_accelerator(config.accelerator)
    check_gpus(accelerator, config.num_gpus)
    check_strategy(config, resolve_precision(config.precision, accelerator))
    for name in MEGATRON_FIELDS:
        if getattr(config, name) != FinetuneESM2Config.__dataclass_fields__[name].default:
            logger.info("%s: has no effect here, it belongs to model parallelism", flag(name))
    if config.min_seq_length is not None:
        logger.warning("--min-seq-length %d is ignored: batches are packed, nothing is padded.", config.min_seq_length)
    run = RunDirectory(config.result_dir / config.experiment_name)
    with run_session(config, run) as session:
        started, config = time.monotonic(), session.config
        examples = read_examples(config)

        def begin() -> None:
            if process_rank() == 0:
                write_rejected(run.path / REJECTED_NAME, examples.proteins.rejected)
            session.begin()

        job = Job(
            config=config,
            examples=examples,
            accelerator=accelerator,
            precision=resolve_precision(config.precision, accelerator),
            fingerprint=fingerprint_of(config, examples),
            stops=session.stops,
            begin=begin,
        )
        check_monitor(config, examples.head)
        log_start(job)
        held_out = []
        with ending_together(current_lifeline):
            for fold, split in splits_of(config, examples):
                fold_run = run if fold is None else RunDirectory(run.path / f"fold-{fold}")
                held_out.append(train_one(job, split, fold_run, run.data_dir, fold))
        if process_rank() == 0:
            scores = write_held_out(run.path, examples, HeldOut.joined(held_out))
            sys.stderr.write(summary(run, scores, seconds=time.monotonic() - started) + "\n")
    return run.path


def fingerprint_of(config: FinetuneESM2Config, examples: Examples) -> dict[str, Any]:
    """Return settings, data and weights that a resumed run must share."""
    settings = to_mapping(config)
    files = [config.train_data_path, config.valid_data_path, config.cluster_file]
    return {
        **{name: settings[name] for name in FINGERPRINT_FIELDS},
        "level": examples.head.level,
        "data": [file_checksum(file) for file in files if file is not None],
        "weights": model_fingerprint(config.restore_from_checkpoint_path),
        "num_gpus": config.num_ranks,
    }


def log_start(job: Job) -> None:
    """Log device, data and head."""
    proteins, head = job.examples.proteins, job.examples.head
    targets = ", ".join(
        f"{target.column} ({target.kind}{f' of {len(target.classes)} classes' if target.classes else ''})"
        for target in head.targets
    )
    logger.info(
        "%d proteins of %d residues; %s head of %ss for %s; torch %s on %s in %s, seed %d",
        len(proteins), len(proteins.tokens), head.kind, head.level, targets, torch.__version__, job.accelerator,
        job.precision, job.config.seed,
    )  # fmt: skip


def train_one(job: Job, split: Split, run: RunDirectory, data_dir: Path, fold: int | None) -> HeldOut:
    """Train one model, and predict what was held out with the model that counts.

    Args:
        job: The run.
        split: What is trained on and what is held out.
        run: Folder of this model.
        data_dir: Where features of a frozen encoder are kept.
        fold: Its number, or None.

    Returns:
        On the first rank the predictions, of the best checkpoint or the last one; on others none.
    """
    config = job.config
    resume_flags = config if fold is None else _FoldResume(config.resume_if_exists)
    point = find_resume_point(resume_flags, run, read_training_state)
    if point is not None:
        check_fingerprint(point.state, job.fingerprint, point.checkpoint)
        logger.info("resuming from step %d (checkpoint %s)", point.state.progress.step, point.checkpoint)
    if fold is not None and process_rank() == 0:
        run.path.mkdir(exist_ok=True)
    head = job.examples.head_for(split)
    checkpoint = None if point is None else point.checkpoint
    model = build_module(config, head, seed=config.seed + (fold or 0), checkpoint=checkpoint)
    sharded = is_sharded_job(job, model.module)
    module = model.module if sharded else model.on_host()
    features = open_features(job, module, data_dir)
    train_data, valid_data = (
        LabeledProteinDataset(
            job.examples.proteins,
            job.examples.labels,
            head.level,
            subset=subset,
            sequences_per_batch=config.micro_batch_size,
            features=features,
            crop_length=crop,
            seed=config.seed,
        )
        for subset, crop in ((split.train, config.crop_length), (split.valid, None))
    )
    steps = plan_steps(config, len(train_data), len(valid_data))
    rows = job.examples.proteins.label_rows(split.train, head.level)
    weights = balanced_weights(head, job.examples.labels[rows]) if config.class_weights == "balanced" else None
    metrics = HeadMetrics(head)
    loss = HeadLoss(head, weights, metrics)
    statistics = InputStatistics(train_data, config.micro_batch_size, config.seed)
    lr = config.lr if point is not None else learning_rate(job, module, train_data, loss, steps, run, statistics)
    optimizer = optimizer_config(config, steps, lr)
    lightning = BionemoLightningModule(
        saved_config(config, module),
        head_forward_step,
        optimizer=optimizer,
        loss_function=loss,
        module=module,
        resume=None if point is None else point.state,
        dropout_seed=config.seed + (fold or 0),
    )
    position = lightning.progress.position
    trainer = build_run_trainer(
        job, run, lightning, steps, optimizer, metrics, loss, statistics=statistics,
        filling=model.weights if sharded else None,
    )  # fmt: skip
    loading = PackLoading(
        tokens_per_batch=None,
        sequences_per_batch=config.micro_batch_size,
        seed=config.seed + (fold or 0),
        rank=trainer.global_rank,
        world_size=trainer.world_size,
        pin_memory=config.pin_memory and job.accelerator == "gpu",
        persistent_workers=config.persistent_workers,
        ignore_stop_signals=True,
    )
    trainer.fit(
        lightning,
        build_pack_loader(train_data, loading, position=position, num_workers=config.num_dataset_workers),
        [build_pack_loader(valid_data, loading, epochs=1)],
    )
    job.stops.has_work = False  # all is saved: a signal ends the predictions at once
    if process_rank() != 0:
        return HeldOut.nothing()
    return predict_held_out(
        job.examples, chosen_checkpoint(config, run, fold), split, device=job.device, precision=job.precision,
        max_batches=config.limit_test_batches,
    )  # fmt: skip


@dataclass(frozen=True)
class _FoldResume:
    """A fold resumes from its own newest checkpoint."""

    resume_if_exists: bool
    resume_from: Path | None = None


def open_features(job: Job, module: ESM2WithHead, data_dir: Path) -> NDArray[np.float32] | None:
    """Open what a frozen encoder's head sees of all proteins, computed once; None where the encoder is trained."""
    if not job.config.encoder_frozen:
        return None
    proteins, head = job.examples.proteins, module.head_config
    path = features_path(data_dir, proteins, head, str(job.fingerprint["weights"]), job.precision)
    features = cached_features(path, module.model, proteins, head, device=job.device, precision=job.precision)
    module.train()
    return features


def learning_rate(
    job: Job,
    module: ESM2WithHead,
    data: LabeledProteinDataset,
    loss: HeadLoss,
    steps: Steps,
    run: RunDirectory,
    statistics: InputStatistics,
) -> float:
    """Return --lr, or what the learning-rate finder suggests; its picture is written into the run's folder."""
    config = job.config
    if not config.find_lr:
        return config.lr
    loading = PackLoading(tokens_per_batch=None, sequences_per_batch=config.micro_batch_size, seed=config.seed)
    batches = (move_data_to_device(batch, job.device) for batch in build_pack_loader(data, loading))
    statistics.measure(module.to(job.device), job.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        found = find_learning_rate(
            module,
            batches,
            lambda model, batch: loss(batch, head_forward_step(model, batch)),
            optimizer_config(config, steps, config.lr),
        )
    if process_rank() == 0:
        draw_range_test(found, run.path / "lr_finder.png")
    logger.info("learning-rate finder: the loss fell fastest at %.2e, which is taken", found.suggestion)
    return found.suggestion


def chosen_checkpoint(config: FinetuneESM2Config, run: RunDirectory, fold: int | None) -> Path:
    """Return the checkpoint that counts: the best, or with --keep last and in cross-validation the last."""
    keep = "last" if fold is not None or not config.save_best_checkpoint else config.keep
    best = run.checkpoints_dir / keep
    return best if best.exists() else run.checkpoints_dir / "last"


def summary(run: RunDirectory, scores: dict[str, Any], *, seconds: float) -> str:
    """Return the last lines of a run: scores of what was held out, and where the results lie."""
    lines = [("trained for", format_seconds(seconds))]
    for column, values in scores.items():
        if isinstance(values, dict):
            text = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, float))
            lines.append((column, text))
    lines += [
        ("held out", str(run.path / "predictions.csv")),
        ("predict with it", f"predict_esm2 --checkpoint-path {run.path} --data-path FILE --results-path DIR"),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)
