# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``train_esm2``: pretrain ESM-2 from FASTA files or from cluster and database files."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.command import run_command
from bionemo.core.config import explicit_fields, option, parse
from bionemo.core.errors import ConfigError
from bionemo.esm2.model.sizes import ESM2_SIZES


DATA, MODEL, TRAINING, CHECKPOINTS = "data", "model", "training", "checkpoints"
HARDWARE, OUTPUT, WANDB = "hardware", "output", "Weights & Biases"


@dataclass(frozen=True, kw_only=True)
class TrainESM2Config:
    """Pretrain ESM-2 on protein sequences, to a checkpoint that transformers opens."""

    train_fasta: Path | None = option(
        None, group=DATA, help="Training sequences: FASTA, FASTA.gz, or a prepared store."
    )
    valid_fasta: Path | None = option(None, group=DATA, help="Validation sequences, like --train-fasta.")
    valid_fraction: float = option(
        0.05, group=DATA, help="Share of --train-fasta held out when no --valid-fasta is given."
    )
    train_cluster_path: Path | None = option(
        None, group=DATA, help="Parquet file, column ur90_id: members of each cluster."
    )
    train_database_path: Path | None = option(None, group=DATA, help="SQLite file, table protein(id, sequence).")
    valid_cluster_path: Path | None = option(None, group=DATA, help="Parquet file, column ur50_id.")
    valid_database_path: Path | None = option(None, group=DATA, help="SQLite file of the validation sequences.")
    pack: bool = option(
        True, group=DATA, help="Fill each batch with whole sequences up to a token budget, without padding."
    )
    tokens_per_batch: int | None = option(
        None,
        group=DATA,
        help="Tokens of one pack on one rank: 32,768 on a GPU, 4,096 on a CPU, at least --max-seq-length.",
    )
    micro_batch_size: int | None = option(
        None,
        group=DATA,
        help="Sequences of a micro-batch (64 with --no-pack); with packing, times --max-seq-length tokens.",
    )
    min_seq_length: int | None = option(None, group=DATA, help="Established padding floor; nothing is padded here.")
    max_seq_length: int = option(
        1024, group=DATA, help="Longest sequence in tokens with special ones; longer are cropped."
    )
    num_dataset_workers: int = option(1, group=DATA, help="Processes that prepare batches.")
    mask_prob: float = option(0.15, group=DATA, help="Share of residues selected for the loss.")
    mask_token_prob: float = option(0.8, group=DATA, help="Share of the selected that becomes <mask>.")
    random_token_prob: float = option(0.1, group=DATA, help="Share of the selected that becomes a random token.")
    random_mask_strategy: Literal["ordinary_tokens", "all_tokens", "amino_acids_only"] = option(
        "ordinary_tokens", group=DATA, help="Ids of random tokens: 4-30, 0-32, or 4-23."
    )

    model: str | None = option(
        None, group=MODEL, choices=tuple(ESM2_SIZES), help="A published size, instead of the four sizes."
    )
    num_layers: int = option(33, group=MODEL, help="Transformer layers.")
    hidden_size: int = option(1280, group=MODEL, help="Channels of a token.")
    num_attention_heads: int = option(20, group=MODEL, help="Attention heads.")
    ffn_hidden_size: int = option(5120, group=MODEL, help="Channels of the feed-forward layer.")
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

    num_steps: int = option(500_000, group=TRAINING, aliases=("--max-steps",), help="Optimizer steps.")
    early_stop_on_step: int | None = option(None, group=TRAINING, help="End here; the schedule is unchanged.")
    lr: float = option(4e-4, group=TRAINING, help="Peak learning rate.")
    warmup_steps: int | None = option(
        None, group=TRAINING, help="Steps to the peak; the smaller of 2000 and 10 % of the steps."
    )
    scheduler_num_steps: int | None = option(
        None, group=TRAINING, help="Steps of the whole schedule; default: --num-steps."
    )
    weight_decay: float = option(0.01, group=TRAINING, help="Decoupled weight decay of matrices.")
    accumulate_grad_batches: int = option(1, group=TRAINING, help="Micro-batches of one optimizer step.")
    val_check_interval: int = option(10_000, group=TRAINING, help="Steps between validations, at most --num-steps.")
    limit_val_batches: int | float | None = option(
        2, group=TRAINING, help="Validation batches: a number, a share such as 0.5 or 1.0, or None for all."
    )
    log_every_n_steps: int | None = option(
        None, group=TRAINING, help="Steps between rows of metrics.csv; 1 % of them, at most 50."
    )
    seed: int = option(42, group=TRAINING, help="Seed of weights, order, crops and masks.")

    resume_if_exists: bool = option(
        False, group=CHECKPOINTS, help="Go on from the run's last checkpoint, bit for bit."
    )
    restore_from_checkpoint_path: Path | None = option(
        None, group=CHECKPOINTS, help="New run with architecture and weights of this checkpoint."
    )
    save_interval: int | None = option(
        None, group=CHECKPOINTS, help="Steps between checkpoints; default: --val-check-interval."
    )
    save_top_k: int = option(2, group=CHECKPOINTS, help="Best checkpoints that are kept.")
    save_best_checkpoint: bool = option(True, group=CHECKPOINTS, help="Keep the best checkpoints.")
    save_last_checkpoint: bool = option(True, group=CHECKPOINTS, help="Save when the run ends.")
    metric_to_monitor_for_checkpoints: Literal["val_loss", "val_loss_masked", "train_loss"] = option(
        "val_loss", group=CHECKPOINTS, help="What best means; smaller is better."
    )
    disable_checkpointing: bool = option(False, group=CHECKPOINTS, help="Save nothing.")

    accelerator: Literal["auto", "cpu", "gpu"] = option("auto", group=HARDWARE, help="Where to train.")
    num_gpus: int = option(1, group=HARDWARE, aliases=("--devices",), help="GPUs, or processes on a CPU, of a node.")
    num_nodes: int = option(1, group=HARDWARE, help="Nodes.")
    precision: Literal[
        "auto", "fp16", "bf16", "fp32", "bf16-mixed", "fp32-mixed", "16-mixed", "fp16-mixed", "16", "32"
    ] = option("auto", group=HARDWARE, help="bf16-mixed on a GPU and fp32 on a CPU, unless given.")
    compile: bool = option(False, group=HARDWARE, help="Compile each layer (GPU only).")
    engine: Literal["auto", "lightning"] = option("auto", group=HARDWARE, help="Training engine.")

    result_dir: Path = option(Path("results"), group=OUTPUT, help="Runs are folders in here.")
    experiment_name: str = option("esm2", group=OUTPUT, help="Folder of this run.")
    create_tensorboard_logger: bool = option(False, group=OUTPUT, help="Also write TensorBoard events.")

    wandb_entity: str | None = option(None, group=WANDB, help="Team or user.")
    wandb_project: str | None = option(None, group=WANDB, help="Project; without it nothing is sent.")
    wandb_group: str | None = option(None, group=WANDB, help="Group of runs.")
    wandb_id: str | None = option(None, group=WANDB, help="Id of a run to continue.")
    wandb_job_type: str | None = option(None, group=WANDB, help="Kind of run.")
    wandb_tags: tuple[str, ...] = option((), group=WANDB, help="Tags.")
    wandb_offline: bool = option(False, group=WANDB, help="Keep the log on this machine.")
    wandb_anonymous: bool = option(False, group=WANDB, help="Log without an account.")
    wandb_log_model: bool = option(False, group=WANDB, help="Upload checkpoints too.")

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        at_least_one = (
            "max_seq_length num_steps accumulate_grad_batches val_check_interval num_gpus num_nodes num_layers "
            "hidden_size num_attention_heads ffn_hidden_size tokens_per_batch micro_batch_size save_interval "
            "log_every_n_steps early_stop_on_step scheduler_num_steps"
        )
        for name in at_least_one.split():
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{flag(name)} {value}: must be at least 1.")
        for name in ("seed", "num_dataset_workers", "save_top_k", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{flag(name)} {getattr(self, name)}: must not be negative.")
        if self.lr <= 0:
            raise ConfigError(f"--lr {self.lr}: must be above 0.")
        if not 0 < self.valid_fraction < 1:
            raise ConfigError(f"--valid-fraction {self.valid_fraction}: must lie between 0 and 1.")
        if not self.experiment_name or "/" in self.experiment_name:
            raise ConfigError(f"--experiment-name {self.experiment_name!r}: must be one folder name.")


def flag(name: str) -> str:
    """Spell a field as its flag."""
    return "--" + name.replace("_", "-")


def check_flags(config: TrainESM2Config) -> None:
    """Refuse flags that contradict each other.

    Raises:
        ConfigError: The message names both flags.
    """
    given = explicit_fields(config)
    exclusive = [
        ("model", ("num_layers", "hidden_size", "num_attention_heads", "ffn_hidden_size")),
        ("train_fasta", ("train_cluster_path", "train_database_path", "valid_cluster_path", "valid_database_path")),
        ("valid_fasta", ("valid_fraction", "valid_cluster_path", "valid_database_path")),
        ("tokens_per_batch", ("micro_batch_size",)),
        ("init_from_hf", ("restore_from_checkpoint_path",)),
        (
            "restore_from_checkpoint_path",
            ("model", "num_layers", "hidden_size", "num_attention_heads", "ffn_hidden_size"),
        ),
        ("disable_checkpointing", ("save_interval", "resume_if_exists")),
    ]
    for one, others in exclusive:
        for other in others:
            if one in given and other in given and getattr(config, one) and getattr(config, other):
                raise ConfigError(f"{flag(one)} and {flag(other)} contradict each other; give one of them.")
    clusters = ("train_cluster_path", "train_database_path", "valid_cluster_path", "valid_database_path")
    if config.train_fasta is None:
        missing = [flag(name) for name in clusters if getattr(config, name) is None]
        if len(missing) == len(clusters):
            raise ConfigError("no training data: give --train-fasta FILE, or the four cluster and database paths.")
        if missing:
            raise ConfigError(f"{', '.join(missing)}: required beside the other cluster and database paths.")
    if not config.pack and config.tokens_per_batch is not None:
        raise ConfigError("--tokens-per-batch is the size of a pack; with --no-pack give --micro-batch-size.")


def main(argv: Sequence[str]) -> int:
    """Parse, then train; prints the run's folder."""
    config = parse(TrainESM2Config, argv, prog="train_esm2")
    check_flags(config)
    from bionemo.esm2.train import train

    sys.stdout.write(f"{train(config)}\n")
    return 0


def entrypoint() -> None:
    """Console script."""
    sys.exit(run_command(main, prog="train_esm2"))


if __name__ == "__main__":
    entrypoint()
