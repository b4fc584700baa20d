# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining of Geneformer: its data, its architecture and its schedule, handed to the shared assembly."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bionemo.core.errors import ConfigError
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.gene_frequencies import frequency_cross_entropy
from bionemo.geneformer.data.open_cells import Cells, open_cells
from bionemo.geneformer.data.packed_cells import PackedCellDataset, build_masking
from bionemo.geneformer.model.config import GeneformerConfig, geneformer_config
from bionemo.geneformer.model.dictionary_files import read_model_dictionaries
from bionemo.geneformer.model.finetune_token_regressor import (
    SequenceLengthLayout,
    sequence_length_forward_step,
    sequence_length_loss,
    with_sequence_length_head,
)
from bionemo.geneformer.model.hf_layout import GeneformerLayout
from bionemo.geneformer.model.published_dictionaries import find_dictionaries
from bionemo.geneformer.model.sizes import GENEFORMER_SIZES
from bionemo.geneformer.tokenizer.variants import VARIANTS
from bionemo.geneformer.train_config import NO_TRAINING_DATA, TrainGeneformerConfig, check_flags
from bionemo.llm.checkpoints.forms import load_any_form
from bionemo.llm.checkpoints.model_source import load_model, locate_model
from bionemo.llm.data.splits import split_train_valid
from bionemo.llm.training import pretrain
from bionemo.llm.training.config import SampleLimit
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.resolve import ResolvedRun
from bionemo.llm.training.resolve import resolve as resolve_run
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.task import Datasets, Objective, PretrainTask


SCHEDULE_FLAGS = {
    "lr": ("max_lr", "min_lr"),
    "cosine_rampup_frac": ("warmup_steps",),
    "cosine_hold_frac": ("hold_steps",),
    "scheduler_num_steps": ("max_steps", "hold_steps"),
}
"""Settings that change the schedule of a resumed run, and the parts of its state that they set."""


def train(config: TrainGeneformerConfig) -> Path:
    """Train, and leave a run directory.

    Args:
        config: Settings of the command.

    Returns:
        The run directory.

    Raises:
        BionemoError: Bad input or a failed run; the message says which.
        RunStopped: SIGINT or SIGTERM asked for it; what was trained is saved.
    """
    check_flags(config)
    dictionaries = read_dictionaries(config)
    shape = model_config(config, dictionaries)
    resolved = resolve(config, shape)
    layout: GeneformerLayout = GeneformerLayout(dictionaries)
    objective: Objective | None = None
    if config.training_model_config_class == "FineTuneSeqLenBioBertConfig":
        shape = with_sequence_length_head(shape)
        layout = SequenceLengthLayout(dictionaries)
        objective = Objective(sequence_length_forward_step, sequence_length_loss)
    task = PretrainTask(
        name=f"Geneformer {shape.variant}",
        model_config=shape,
        vocabulary=shape.vocabulary,
        layout=layout,
        objective=objective,
        optimizer=build_optimizer_config(config),
        build_datasets=partial(build_datasets, config, resolved, dictionaries),
        fingerprint={"seq_length": resolved.max_seq_length, "empty_cells": config.empty_cells},
        schedule_flags=SCHEDULE_FLAGS,
        start_from=config.restore_from_checkpoint_path,
        tags=("biology", "single-cell", "geneformer"),
        opening="bionemo.geneformer.api.load_geneformer('{path}')",
        reference_label="training gene frequencies (cross-entropy)",
    )
    return pretrain.pretrain(resolved, task)


def build_optimizer_config(config: TrainGeneformerConfig) -> OptimizerConfig:
    """Build the settings of Adam and its cosine schedule."""
    steps = config.scheduler_num_steps or config.num_steps
    warmup_steps = math.ceil(config.cosine_rampup_frac * steps)
    hold_steps = math.ceil(config.cosine_hold_frac * steps)
    return OptimizerConfig(
        lr=config.lr,
        schedule="cosine",
        warmup_steps=warmup_steps,
        hold_steps=min(hold_steps, steps - warmup_steps),
        max_steps=steps,
        weight_decay=config.weight_decay,
        beta2=0.999,
    )


def resolve(config: TrainGeneformerConfig, shape: GeneformerConfig) -> ResolvedRun:
    """Derive what depends on the machine, the model or other settings.

    Raises:
        ConfigError: Settings do not fit together or this machine.
    """
    seq_length = config.seq_length or shape.seq_length
    if seq_length > shape.seq_length:
        raise ConfigError(f"--seq-length {seq_length}: the model has {shape.seq_length} positions.")
    return resolve_run(config, SampleLimit("--seq-length", seq_length))


def read_dictionaries(config: TrainGeneformerConfig) -> Dictionaries:
    """Read the vocabulary and what belongs to it: from the flags, else from the checkpoint that the run starts from.

    Raises:
        ConfigError: Neither has a vocabulary.
        CheckpointError: The vocabulary is not that of the checkpoint.
    """
    source = config.restore_from_checkpoint_path
    own, shape = None, None
    if source is not None:
        located = locate_model(source)
        shape = load_any_form(located.path, GeneformerLayout()).config
        own = find_dictionaries(located, shape)
    return read_model_dictionaries(config, own, shape, source)


def model_config(config: TrainGeneformerConfig, dictionaries: Dictionaries) -> GeneformerConfig:
    """Architecture that the flags and the vocabulary describe, or that of the checkpoint that the run starts from.

    Raises:
        ConfigError: The model's family is not the vocabulary's.
    """
    source = config.restore_from_checkpoint_path
    if source is not None:
        shape: GeneformerConfig = load_model(source, GeneformerLayout()).config
        return shape
    tokenizer = dictionaries.tokenizer
    family = tokenizer.variant.name
    changes: dict[str, Any] = {
        "vocab_size": tokenizer.vocab_size,
        "vocabulary_fingerprint": tokenizer.fingerprint,
        "biobert_spec_option": config.biobert_spec_option,
    }
    for name in ("hidden_dropout", "attention_dropout"):
        if getattr(config, name) is not None:
            changes[name] = getattr(config, name)
    if config.model is not None:
        if GENEFORMER_SIZES[config.model].variant != family:
            raise ConfigError(f"--model {config.model}: the token dictionary is of family {family}.")
        return geneformer_config(config.model, **changes)
    return geneformer_config(
        family,
        num_layers=config.num_layers,
        hidden_size=config.hidden_size,
        num_attention_heads=config.num_attention_heads,
        ffn_hidden_size=config.ffn_hidden_size,
        seq_length=config.seq_length or VARIANTS[family].max_length,
        **changes,
    )


def open_train_and_valid(
    config: TrainGeneformerConfig, seq_length: int, dictionaries: Dictionaries
) -> tuple[Cells, Cells]:
    """Open the training and the validation cells, from whichever of the two kinds of input was given."""
    reading = config.reading(
        max_length=seq_length,
        empty_cells=config.empty_cells,
        refuse_unknown_genes=config.include_unrecognized_vocab_in_dataset,
    )
    train_path, valid_path = config.train_tokens, config.valid_tokens
    if config.data_dir is not None:
        train_path, valid_path = config.data_dir / "train", config.data_dir / "val"
    if train_path is None:
        raise ConfigError(NO_TRAINING_DATA)
    train_cells = open_cells(train_path, dictionaries, reading)
    if valid_path is not None:
        return train_cells, open_cells(valid_path, dictionaries, reading)
    idxs = train_cells.indices
    parts = split_train_valid(len(idxs), config.valid_fraction, config.seed, alternative="--valid-tokens")
    train_idx, valid_idx = (idxs[part] for part in parts)
    return replace(train_cells, subset=train_idx), replace(train_cells, subset=valid_idx)


def build_datasets(
    config: TrainGeneformerConfig, resolved: ResolvedRun, dictionaries: Dictionaries, run: RunDirectory
) -> Datasets:
    """Open the cells of a run, packed and masked for training and for both validation losses."""

    def dataset(cells: Cells, *, mask_all: bool = False) -> PackedCellDataset:
        return PackedCellDataset(
            cells.tokens,
            dictionaries.tokenizer,
            subset=cells.subset,
            max_seq_length=resolved.max_seq_length,
            max_tokens=resolved.max_tokens,
            masking=build_masking(
                dictionaries.tokenizer,
                seed=config.seed,
                mask_prob=config.mask_prob,
                mask_token_prob=1.0 if mask_all else config.mask_token_prob,
                random_token_prob=0.0 if mask_all else config.random_token_prob,
            ),
        )

    train_cells, valid_cells = open_train_and_valid(config, resolved.max_seq_length, dictionaries)
    train_data, valid_data = dataset(train_cells), dataset(valid_cells)
    line = frequency_cross_entropy(train_data, valid_data)
    return Datasets(train_data, valid_data, dataset(valid_cells, mask_all=True), line)
