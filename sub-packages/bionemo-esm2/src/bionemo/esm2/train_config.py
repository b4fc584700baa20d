# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ESM-2's pretraining."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import RunFlags, SharedFlags
from bionemo.esm2.data.fasta_flags import FastaFlags, paths_of
from bionemo.esm2.model.sizes import ESM2_SIZES
from bionemo.llm.flag_groups import OptimizationFlags, TransformerSizeFlags
from bionemo.llm.training.config import (
    BATCHES,
    DATA,
    MODEL,
    SHAPE_FIELDS,
    PretrainConfig,
    check_contradictions,
    flag,
)


CLUSTER_FIELDS = ("train_cluster_path", "train_database_path", "valid_cluster_path", "valid_database_path")


@dataclass(frozen=True, kw_only=True)
class TrainESM2Config(FastaFlags, PretrainConfig):
    """Pretrain ESM-2 on protein sequences, to a checkpoint that transformers opens."""

    at_least_one: ClassVar[tuple[str, ...]] = (
        *PretrainConfig.at_least_one,
        "max_seq_length",
        *SHAPE_FIELDS,
    )

    exclusive: ClassVar[Exclusive] = (
        *PretrainConfig.exclusive,
        ("model", SHAPE_FIELDS),
        ("train_fasta", CLUSTER_FIELDS),
        ("train_cluster_path", ("on_bad_record", "duplicate_ids")),
        ("valid_fasta", ("valid_fraction", "valid_cluster_path", "valid_database_path")),
        ("init_from_hf", ("restore_from_checkpoint_path", "model", *SHAPE_FIELDS)),
        ("restore_from_checkpoint_path", ("model", *SHAPE_FIELDS)),
    )

    train_fasta: tuple[Path, ...] | None = option(
        None,
        group=DATA,
        help="Training sequences: FASTA files, folders of them, a pipe, or - for standard input; plain, .gz, .bz2, "
        ".xz or .zst; or one prepared store.",
    )
    valid_fasta: tuple[Path, ...] | None = option(None, group=DATA, help="Validation sequences, like --train-fasta.")
    valid_fraction: float = option_like(SharedFlags, "valid_fraction", 0.05, group=DATA)
    train_cluster_path: Path | None = option(
        None, group=DATA, help="Parquet file, column ur90_id: members of each cluster."
    )
    train_database_path: Path | None = option(None, group=DATA, help="SQLite file, table protein(id, sequence).")
    valid_cluster_path: Path | None = option(None, group=DATA, help="Parquet file, column ur50_id.")
    valid_database_path: Path | None = option(None, group=DATA, help="SQLite file of the validation sequences.")

    model: str | None = option(
        None, group=MODEL, choices=tuple(ESM2_SIZES), help="A published size, instead of the four sizes."
    )
    num_layers: int = option_like(TransformerSizeFlags, "num_layers", 33)
    hidden_size: int = option_like(TransformerSizeFlags, "hidden_size", 1280)
    num_attention_heads: int = option_like(TransformerSizeFlags, "num_attention_heads", 20)
    ffn_hidden_size: int = option_like(TransformerSizeFlags, "ffn_hidden_size", 5120)
    biobert_spec_option: Literal["esm2_bert_layer_local_spec", "esm2_bert_layer_with_transformer_engine_spec"] = (
        option(
            "esm2_bert_layer_with_transformer_engine_spec",
            group=MODEL,
            help="Layer spec; both build the same local layers.",
        )
    )
    init_from_hf: Path | None = option(
        None, group=MODEL, help="Start from the weights of an ESM-2 folder of transformers."
    )

    min_seq_length: int | None = option(
        None, group=BATCHES, help="Ignored (BioNeMo 2 compatible): packed batches are never padded."
    )
    max_seq_length: int = option(
        1024, group=BATCHES, help="Longest sequence in tokens with special ones; longer are cropped."
    )
    random_mask_strategy: Literal["ordinary_tokens", "all_tokens", "amino_acids_only"] = option(
        "ordinary_tokens", group=BATCHES, help="Ids of random tokens: 4-30, 0-32, or 4-23."
    )

    warmup_steps: int | None = option_like(OptimizationFlags, "warmup_steps", None)

    experiment_name: str = option_like(RunFlags, "experiment_name", "esm2")

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        super().__post_init__()
        for name in ("train_fasta", "valid_fasta"):  # from Python, one path may stand for a tuple of them
            if getattr(self, name) is not None:
                object.__setattr__(self, name, paths_of(getattr(self, name)))
        if not 0 < self.valid_fraction < 1:
            raise ConfigError(f"--valid-fraction {self.valid_fraction}: must lie between 0 and 1.")


def check_flags(config: TrainESM2Config) -> None:
    """Refuse flags that contradict each other, and a run without data.

    Raises:
        ConfigError: The message names the flags.
    """
    check_contradictions(config)
    if config.train_fasta is None:
        cluster_paths(config)


def cluster_paths(config: TrainESM2Config) -> tuple[Path, ...]:
    """Return the paths of training clusters and database, then those of validation (BioNeMo 2 compatible).

    Raises:
        ConfigError: One is missing.
    """
    paths = {name: getattr(config, name) for name in CLUSTER_FIELDS}
    missing = [flag(name) for name, path in paths.items() if path is None]
    if len(missing) == len(CLUSTER_FIELDS):
        raise ConfigError("no training data: give --train-fasta FILE, or the four cluster and database paths.")
    if missing:
        raise ConfigError(f"{', '.join(missing)}: required beside the other cluster and database paths.")
    return tuple(paths.values())
