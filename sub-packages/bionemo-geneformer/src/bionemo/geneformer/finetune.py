# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning of Geneformer: labeled cells or genes, a head, and the training engine of pretraining.

A run folder holds ``model/``, ``checkpoints/`` to resume from, ``metrics.csv`` and ``loss.png`` of the training (in
cross-validation in ``fold-N/``), ``predictions.csv`` of what was held out, and ``scores.json``.
"""

import csv
import hashlib
import io
import json
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.config import changed, to_mapping
from bionemo.core.errors import ConfigError, DataError
from bionemo.core.files import write_json, write_text
from bionemo.core.ranks import process_rank
from bionemo.geneformer.api import OpenedGeneformer, open_geneformer
from bionemo.geneformer.data.dictionaries import Dictionaries, read_text_dictionary
from bionemo.geneformer.data.labels import (
    ClassLabels,
    LabeledCellDataset,
    gene_label_tensor,
    label_genes,
    number_classes,
    read_values,
)
from bionemo.geneformer.data.open_cells import Cells, open_cells
from bionemo.geneformer.finetune_config import FinetuneGeneformerConfig, check_flags
from bionemo.geneformer.head_training import Predictions, absorb_scale, build_loss, scores
from bionemo.geneformer.model.config import GeneformerConfig
from bionemo.geneformer.model.dictionary_files import read_model_dictionaries
from bionemo.geneformer.model.head_layout import save_finetuned
from bionemo.geneformer.model.heads import GeneformerWithHead, HeadConfig
from bionemo.geneformer.model.standardization import absorb_standardization, standardize_cells
from bionemo.geneformer.run_trainer import Job, chosen_checkpoint, predict_held_out, train_head
from bionemo.llm.checkpoints.model_card import ModelCard, write_model_card
from bionemo.llm.checkpoints.model_source import model_fingerprint
from bionemo.llm.checkpoints.training_state import check_fingerprint, read_training_state
from bionemo.llm.checkpoints.weight_files import open_weights
from bionemo.llm.data.splits import split_train_valid, stratified_folds, stratified_split
from bionemo.llm.model.biobert.model import build_model
from bionemo.llm.model.freezing import freeze_layers
from bionemo.llm.model.lora import add_lora, merge_lora
from bionemo.llm.training.config import flag
from bionemo.llm.training.ranks.deferred_init import DeferredModel, build_recorded
from bionemo.llm.training.ranks.fine_tuning import check_strategy, defer_model, encoder_tensors
from bionemo.llm.training.ranks.lost_ranks import ending_together
from bionemo.llm.training.ranks.strategies import current_lifeline
from bionemo.llm.training.resume import find_resume_point
from bionemo.llm.training.run_beginning import installed_version
from bionemo.llm.training.run_card import given_data, hub_name_of
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.run_session import run_session
from bionemo.llm.training.trainer import check_gpus, check_ranks, resolve_accelerator, resolve_precision


logger = logging.getLogger(__name__)

FINGERPRINT_FIELDS = (
    *"task_type label_column pooling head_dropout standardize_cells class_weights encoder_frozen".split(),
    *"num_frozen_layers lora_finetune lora_rank lora_alpha num_epochs lr warmup_steps weight_decay".split(),
    *"micro_batch_size accumulate_grad_batches seed folds valid_fraction seq_length early_stopping_patience".split(),
)
"""Settings that a resumed run must share."""


class Examples(NamedTuple):
    """Cells of a task with what is to be predicted."""

    cells: Cells
    usable: NDArray[np.int64]
    """Cells that have genes and, where cells are labeled, a label."""
    labels: NDArray[Any]
    """[C] classes (-1: none) or values (not a number: none) of cells, or [V] classes of tokens (-1: none)."""
    head: HeadConfig


class Split(NamedTuple):
    """What is trained on and what is held out; cells, and for genes the tokens whose classes are known to each."""

    train_cells: NDArray[np.int64]
    valid_cells: NDArray[np.int64]
    train_genes: NDArray[np.int64] | None = None
    valid_genes: NDArray[np.int64] | None = None


def finetune(config: FinetuneGeneformerConfig) -> Path:
    """Fine-tune, and leave a run directory.

    Args:
        config: Settings of the command.

    Returns:
        The run directory.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
    """
    check_flags(config)
    pretrained = open_geneformer(config.restore_from_checkpoint_path)
    config = resolve(config, pretrained.config)
    precision = resolve_precision(config.precision, config.accelerator)
    check_strategy(config, precision)
    dictionaries = read_model_dictionaries(
        config, pretrained.dictionaries, pretrained.config, config.restore_from_checkpoint_path
    )
    examples, valid_examples = read_examples(config, dictionaries)
    run = RunDirectory(config.result_dir / config.experiment_name)
    with run_session(config, run) as session:
        config = session.config
        fingerprint = fingerprint_of(config, examples, valid_examples)
        job = Job(config, precision, fingerprint, session.stops, session.begin)
        held_out = []
        with ending_together(current_lifeline):
            for fold, split in splits(config, examples, valid_examples):
                folder = run if fold is None else RunDirectory(run.path / f"fold-{fold}")
                held_out.append(
                    train_one(job, pretrained, dictionaries, examples, valid_examples, split, folder, fold)
                )
        if process_rank() == 0:
            write_results(run.path, valid_examples or examples, Predictions.concatenate(held_out))
    return run.path


def fingerprint_of(
    config: FinetuneGeneformerConfig, examples: Examples, valid_examples: Examples | None
) -> dict[str, Any]:
    """Return settings, labels and weights that a resumed run must share."""
    settings = to_mapping(config)
    cells = hashlib.sha256()
    for part in (examples, valid_examples):
        if part is not None:
            cells.update(np.ascontiguousarray(part.usable).tobytes() + np.ascontiguousarray(part.labels).tobytes())
    return {
        **{name: settings[name] for name in FINGERPRINT_FIELDS},
        "cells": cells.hexdigest(),
        "weights": model_fingerprint(config.restore_from_checkpoint_path),
        "num_gpus": config.num_gpus * config.num_nodes,
    }


def finetuning_card(config: FinetuneGeneformerConfig, num_train_cells: int, num_valid_cells: int) -> ModelCard:
    """Describe a fine-tuned model for its card.

    Args:
        config: Settings of the command.
        num_train_cells: Cells that it is trained on.
        num_valid_cells: Cells that it is judged by.
    """
    names = "task_type pooling lora_finetune encoder_frozen num_frozen_layers num_epochs lr weight_decay".split()
    more = "micro_batch_size class_weights seed precision".split()
    return ModelCard(
        title=f"Geneformer fine-tuned, run {config.experiment_name}",
        summary=f"Geneformer fine-tuned for {config.task_type} by BioNeMo {installed_version('bionemo-llm')}; the "
        "metrics are of cells that were held out.",
        opening="bionemo.geneformer.model.head_layout.load_finetuned('{path}')",
        data={**given_data(config), "training cells": num_train_cells, "held-out cells": num_valid_cells},
        settings={flag(name): getattr(config, name) for name in (*names, *more)},
        tags=("biology", "single-cell", "geneformer"),
        base_model=hub_name_of(config.restore_from_checkpoint_path),
    )


def resolve(config: FinetuneGeneformerConfig, pretrained: GeneformerConfig) -> FinetuneGeneformerConfig:
    """Fill in what depends on the machine or the model, so that config.yaml says what was run.

    Raises:
        ConfigError: Settings do not fit the model or this machine.
    """
    positions = pretrained.seq_length
    if config.seq_length is not None and not 1 <= config.seq_length <= positions:
        raise ConfigError(f"--seq-length {config.seq_length}: the model has {positions} positions.")
    check_ranks(config.num_gpus, config.num_nodes)
    accelerator = resolve_accelerator(config.accelerator)
    check_gpus(accelerator, config.num_gpus)
    changes: dict[str, Any] = {"seq_length": config.seq_length or positions, "accelerator": accelerator}
    return changed(config, **changes)


def read_examples(config: FinetuneGeneformerConfig, dictionaries: Dictionaries) -> tuple[Examples, Examples | None]:
    """Read the training cells, and the validation cells where they are given, with the same classes."""
    examples = read_labeled(config, dictionaries, config.train_data_path)
    if config.valid_data_path is None:
        return examples, None
    return examples, read_labeled(config, dictionaries, config.valid_data_path, like=examples.head)


def read_labeled(
    config: FinetuneGeneformerConfig, dictionaries: Dictionaries, path: Path, *, like: HeadConfig | None = None
) -> Examples:
    """Open cells and their labels.

    Args:
        config: The command's.
        dictionaries: The model's.
        path: The cells.
        like: Head of the training cells, whose classes these must have.

    Raises:
        DataError: The labels are missing, or have another class than the training cells.
    """
    reading = config.reading(max_length=config.seq_length, empty_cells=config.empty_cells)
    cells = open_cells(path, dictionaries, reading)
    usable = cells.indices
    head: dict[str, Any] = {"task": config.task_type, "pooling": config.pooling, "dropout": config.head_dropout}
    if config.gene_labels is not None:
        labels = label_genes(
            read_text_dictionary(config.gene_labels), dictionaries.tokenizer, f"--gene-labels {config.gene_labels}"
        )
        return Examples(cells, usable, labels.class_idx, HeadConfig(**head, classes=labels.classes))
    assert config.label_column is not None
    source = f"{path}: column {config.label_column!r}"
    column = cells.texts(config.label_column)
    head["label_column"] = config.label_column
    if config.task_type == "regression":
        values = read_values(column, source)
        return Examples(cells, usable[np.isfinite(values[usable])], values, HeadConfig(**head))
    labels = number_classes(column, source)
    if like is not None:
        labels = renumber(labels, like.classes, source)
    usable = usable[labels.class_idx[usable] >= 0]
    return Examples(cells, usable, labels.class_idx, HeadConfig(**head, classes=labels.classes))


def renumber(labels: ClassLabels, classes: tuple[str, ...], source: str) -> ClassLabels:
    """Return labels with the numbers that their classes have among others.

    Raises:
        DataError: There is a class that the others lack.
    """
    if unknown := sorted(set(labels.classes) - set(classes)):
        raise DataError(f"{source}: has the class {unknown[0]!r}, which the training cells lack.")
    numbers = np.array([*(classes.index(name) for name in labels.classes), -1], dtype=np.int64)
    return ClassLabels(classes, numbers[labels.class_idx])


def splits(
    config: FinetuneGeneformerConfig, examples: Examples, valid_examples: Examples | None
) -> Iterator[tuple[int | None, Split]]:
    """Iterate over (number of the fold, split) of every model that is trained; None where there is one."""
    usable, labels = examples.usable, examples.labels
    if config.folds is not None:
        folds = stratified_folds(labels[usable], config.folds, config.seed)
        for fold in range(config.folds):
            yield fold, Split(usable[folds != fold], usable[folds == fold])
        return
    train_genes = valid_genes = None
    if config.gene_labels is not None:
        train_genes, valid_genes = stratified_split(labels, config.valid_fraction, config.seed)
    if valid_examples is not None:
        yield None, Split(usable, valid_examples.usable, train_genes, valid_genes)
    elif config.task_type == "cell-classification":
        train, valid = stratified_split(labels[usable], config.valid_fraction, config.seed)
        yield None, Split(usable[train], usable[valid])
    else:
        train, valid = split_train_valid(
            len(usable), config.valid_fraction, config.seed, alternative="--valid-data-path"
        )
        yield None, Split(usable[train], usable[valid], train_genes, valid_genes)


def train_one(
    job: Job,
    pretrained: OpenedGeneformer,
    dictionaries: Dictionaries,
    examples: Examples,
    valid_examples: Examples | None,
    split: Split,
    run: RunDirectory,
    fold: int | None,
) -> Predictions:
    """Train one model from the pretrained one, save it, and predict what was held out.

    Returns:
        On the first rank the predictions of the epoch that counts; on others none.
    """
    config = job.config

    def dataset(part: Examples, cells: NDArray[np.int64], genes: NDArray[np.int64] | None) -> LabeledCellDataset:
        assert config.seq_length is not None
        of_genes = None if genes is None else gene_label_tensor(part.labels, genes)
        return LabeledCellDataset(
            part.cells.tokens,
            dictionaries.tokenizer,
            subset=cells,
            cell_labels=part.labels if genes is None else None,
            gene_labels=of_genes,
            max_seq_length=config.seq_length,
            max_tokens=config.micro_batch_size * config.seq_length,
            sequences_multiple=1,
        )

    def model(checkpoint: Path | None) -> DeferredModel[GeneformerWithHead]:
        seed = config.seed + (fold or 0)
        return build_module(config, pretrained, dictionaries, examples.head, seed=seed, checkpoint=checkpoint)

    point = find_resume_point(config, run, read_training_state)
    if point is not None:
        check_fingerprint(point.state, job.fingerprint, point.checkpoint)
        logger.info("resuming from step %d (checkpoint %s)", point.state.progress.step, point.checkpoint)
    if fold is not None and process_rank() == 0:
        run.path.mkdir(exist_ok=True)
    train_data = dataset(examples, split.train_cells, split.train_genes)
    valid_data = dataset(valid_examples or examples, split.valid_cells, split.valid_genes)
    loss = build_loss(examples.head, train_data, balance_classes=config.class_weights == "balanced")
    checkpoint, state = (None, None) if point is None else (point.checkpoint, point.state)
    train_head(job, model(checkpoint), loss, train_data, valid_data, run, resume=state)
    job.stops.has_work = False  # all is saved: a signal ends the predictions at once
    if process_rank() != 0:
        return Predictions.nothing()
    module = model(chosen_checkpoint(config, run)).on_host()
    predictions = predict_held_out(job, module, valid_data, loss)
    absorb_standardization(module)
    absorb_scale(module, loss)
    merge_lora(module.model)
    results = scores(module.head_config, predictions)
    card = finetuning_card(config, len(split.train_cells), len(split.valid_cells))
    write_card = partial(write_model_card, card=card, metrics=results, name="model")
    save_finetuned(module.eval(), run.path / "model", overwrite=True, write_more=write_card)
    logger.info(
        "%s: %d training and %d held-out cells, %s",
        "fine-tuned" if fold is None else f"fold {fold}",
        len(train_data),
        len(valid_data),
        ", ".join(f"{name} {value:.4f}" for name, value in results.items()),
    )
    return predictions


def build_module(
    config: FinetuneGeneformerConfig,
    pretrained: OpenedGeneformer,
    dictionaries: Dictionaries,
    head: HeadConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
) -> DeferredModel[GeneformerWithHead]:
    """Put a head on the pretrained model, freeze or adapt what the flags say, and standardize what the head sees.

    Args:
        config: Settings of the command.
        pretrained: The model.
        dictionaries: What its tokens mean.
        head: What is predicted.
        seed: The head's random weights and the adapters' are a function of it.
        checkpoint: Of this run, which has all weights; None: a new head.

    Returns:
        The model in training mode, without memory yet, and what fills it.

    Raises:
        CheckpointError: The checkpoint is of another model.
        ConfigError: A flag does not fit the model.
    """
    import torch

    with torch.device("meta"):
        encoder = build_model(pretrained.config, pretrained.config.vocabulary)

    def with_head() -> GeneformerWithHead:
        module = GeneformerWithHead(encoder, head, dictionaries)
        if config.lora_finetune:
            add_lora(module.model, rank=config.lora_rank, alpha=config.lora_alpha)
        elif config.encoder_frozen:
            module.model.requires_grad_(False)
        elif config.num_frozen_layers:
            freeze_layers(module.model, config.num_frozen_layers)
        if config.standardize_cells:
            standardize_cells(module)
        return module

    module, initialization = build_recorded(with_head)
    stored = encoder_tensors(pretrained.state, module) if checkpoint is None else open_weights(checkpoint)
    source = checkpoint or pretrained.path
    return defer_model(module, initialization, stored, source, seed=seed, is_resumed=checkpoint is not None)


def write_results(folder: Path, examples: Examples, predictions: Predictions) -> None:
    """Write ``predictions.csv`` and ``scores.json`` of all that was held out."""
    head = examples.head
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["cell_id", *([] if head.is_per_cell else ["token"]), "truth", "predicted"])
    for row in range(len(predictions.cells)):
        names: list[Any] = [examples.cells.ids[predictions.cells[row]]]
        if predictions.tokens is not None:
            names.append(int(predictions.tokens[row]))
        pair = (predictions.truth[row], predictions.predicted[row])
        writer.writerow([*names, *(float(v) if head.is_regression else head.classes[v] for v in pair)])
    write_text(folder / "predictions.csv", table.getvalue())
    result = {"num_held_out": len(predictions.cells), **scores(head, predictions)}
    write_json(folder / "scores.json", result)
    logger.info("held out: %s", json.dumps(result))
