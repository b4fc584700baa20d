# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Pretraining of ESM-2: its data, its architecture and its schedule, handed to the shared assembly."""

import logging
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError
from bionemo.esm2.data.cluster_files import ClusterIds, create_valid_clusters, read_train_clusters
from bionemo.esm2.data.fasta_files import is_stream, name_of
from bionemo.esm2.data.fasta_policy import IllegalPolicy
from bionemo.esm2.data.length_report import log_cropped
from bionemo.esm2.data.packed_dataset import PackedProteinDataset, build_masking, split_train_valid
from bionemo.esm2.data.sequence_store import Clusters, SequenceSource
from bionemo.esm2.data.sequence_store_writer import open_or_build_store
from bionemo.esm2.data.sqlite_dataset import ProteinSQLiteDataset, SQLiteSequenceSource
from bionemo.esm2.data.tokenizer import RandomMaskStrategy, get_tokenizer
from bionemo.esm2.data.unigram import unigram_cross_entropy
from bionemo.esm2.model.hf_layout import ESM2Layout
from bionemo.esm2.model.model import ESM2Config, esm2_config
from bionemo.esm2.train_config import TrainESM2Config, check_flags, cluster_paths
from bionemo.llm.training import pretrain
from bionemo.llm.training.config import SHAPE_FIELDS, SampleLimit, is_given
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.resolve import ResolvedRun
from bionemo.llm.training.resolve import resolve as resolve_run
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.llm.training.task import Datasets, PretrainTask


logger = logging.getLogger(__name__)

FINGERPRINT_FIELDS = ("max_seq_length", "random_mask_strategy")
"""Settings of its own that a resumed run must share."""

SCHEDULE_FLAGS = {
    "lr": ("max_lr", "min_lr"),
    "warmup_steps": ("warmup_steps",),
    "scheduler_num_steps": ("max_steps",),
}
"""Settings that change the schedule of a resumed run, and the parts of its state that they set."""


def train(config: TrainESM2Config) -> Path:
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
    resolved = resolve(config)
    return pretrain.pretrain(resolved, pretrain_task(config, resolved))


def pretrain_task(config: TrainESM2Config, resolved: ResolvedRun) -> PretrainTask:
    """Return what ESM-2 brings to a run.

    Args:
        config: Settings of the command.
        resolved: What was derived from them.

    Raises:
        ConfigError: The warm-up is longer than the schedule.
    """
    start_from = config.restore_from_checkpoint_path or config.init_from_hf
    return PretrainTask(
        name="ESM-2",
        model_config=model_config(config),
        vocabulary=get_tokenizer(),
        layout=ESM2Layout(),
        optimizer=build_optimizer_config(config),
        build_datasets=partial(build_datasets, config, resolved.max_tokens),
        fingerprint={name: getattr(config, name) for name in FINGERPRINT_FIELDS},
        schedule_flags=SCHEDULE_FLAGS,
        start_from=start_from,
        tags=("biology", "protein", "esm"),
        opening="transformers.EsmForMaskedLM.from_pretrained('{path}')",
        architecture_given=start_from is None and any(is_given(config, name) for name in ("model", *SHAPE_FIELDS)),
    )


def build_optimizer_config(config: TrainESM2Config) -> OptimizerConfig:
    """Build the settings of AdamW and its schedule; the warm-up is the smaller of 2000 steps and 10 % of the schedule.

    Raises:
        ConfigError: The warm-up is longer than the schedule.
    """
    steps = config.scheduler_num_steps or config.num_steps
    warmup_steps = min(2000, steps // 10) if config.warmup_steps is None else config.warmup_steps
    if warmup_steps > steps:
        raise ConfigError(f"--warmup-steps {warmup_steps} exceeds the schedule's {steps} steps.")
    return OptimizerConfig(lr=config.lr, warmup_steps=warmup_steps, max_steps=steps, weight_decay=config.weight_decay)


def resolve(config: TrainESM2Config) -> ResolvedRun:
    """Derive what depends on the machine or on other settings.

    Raises:
        ConfigError: Settings do not fit together or this machine.
    """
    if config.min_seq_length is not None:
        logger.warning("--min-seq-length %d is ignored: batches are packed, nothing is padded.", config.min_seq_length)
    return resolve_run(config, SampleLimit("--max-seq-length", config.max_seq_length))


class Records(NamedTuple):
    """Where samples come from: the sequences, which of them stand for each other, and which records are meant."""

    source: SequenceSource
    clusters: Clusters | None
    subset: NDArray[np.int64] | None = None


def open_records(config: TrainESM2Config, run: RunDirectory) -> tuple[Records, Records]:
    """Open the training and the validation sequences, from whichever of the two kinds of input was given."""
    if config.train_fasta is None:
        train_clusters, train_database, valid_clusters, valid_database = cluster_paths(config)
        return (
            sqlite_records(read_train_clusters(train_clusters), train_database, config.illegal),
            sqlite_records(create_valid_clusters(valid_clusters), valid_database, config.illegal),
        )
    check_streams(config)
    store = open_or_build_store(config.train_fasta, run.data_dir / "train", **config.policies())
    if config.valid_fasta is not None:
        valid_store = open_or_build_store(config.valid_fasta, run.data_dir / "valid", **config.policies())
        return Records(store, store.clusters), Records(valid_store, valid_store.clusters)
    num_records = len(store) if store.clusters is None else len(store.clusters.offsets) - 1
    train_idx, valid_idx = split_train_valid(num_records, config.valid_fraction, config.seed)
    return Records(store, store.clusters, train_idx), Records(store, store.clusters, valid_idx)


def check_streams(config: TrainESM2Config) -> None:
    """Refuse pipes where several processes would have to read them.

    Raises:
        ConfigError: The message names the pipe.
    """
    paths = [*(config.train_fasta or ()), *(config.valid_fasta or ())]
    streams = [path for path in paths if is_stream(path)]
    if streams and config.num_gpus * config.num_nodes > 1:
        raise ConfigError(
            f"{name_of(streams[0])} is a pipe, which only one of {config.num_gpus * config.num_nodes} processes can "
            "read. Run prepare_esm2_data first and train on the store."
        )
    if len(streams) > len(set(streams)):
        raise ConfigError(f"{name_of(streams[0])} is a pipe and can be read only once, but it is given twice.")


def sqlite_records(clusters: ClusterIds, database_path: Path, on_illegal: IllegalPolicy) -> Records:
    """Open the BioNeMo 2 compatible pair of cluster and database file."""
    database = ProteinSQLiteDataset(database_path)
    return Records(SQLiteSequenceSource(database, clusters, on_illegal=on_illegal), clusters.clusters)


def build_datasets(config: TrainESM2Config, max_tokens: int, run: RunDirectory) -> Datasets:
    """Open the sequences of a run, packed and masked for training and for both validation losses."""

    def dataset(records: Records, *, mask_all: bool = False) -> PackedProteinDataset:
        return PackedProteinDataset(
            records.source,
            subset=records.subset,
            clusters=records.clusters,
            seed=config.seed,
            max_seq_length=config.max_seq_length,
            max_tokens=max_tokens,
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
    log_cropped(train_data, "training set")
    log_cropped(valid_data, "validation set")
    line = unigram_cross_entropy(train_data, valid_data)
    return Datasets(train_data, valid_data, dataset(valid_records, mask_all=True), line)


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
