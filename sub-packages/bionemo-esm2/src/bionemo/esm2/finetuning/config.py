# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of ESM-2's fine-tuning, and of predictions with the result."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import check_exclusive, explicit_fields, given_fields, option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import RunFlags, SharedFlags
from bionemo.esm2.data.fasta_flags import FastaFlags
from bionemo.esm2.embedding.config import InferESM2Config
from bionemo.esm2.finetuning.head_config import HEAD_KINDS, HeadKind, Level, TargetKind
from bionemo.esm2.train_config import TrainESM2Config
from bionemo.esm2.variants.config import ScoreVariantsESM2Config
from bionemo.llm.flag_groups import ComputeFlags, FineTuningFlags, ModelSourceFlags, OptimizationFlags, StrategyFlags
from bionemo.llm.training.config import PretrainConfig, flag


DATA, TASK, SPLIT, TRAINING, HARDWARE, OUTPUT = "data", "task", "split", "training", "hardware", "output"
CHECKPOINTS = "checkpoints"
LORA_RANK, LORA_ALPHA = 32, 32.0

RESIDUE_CLASS = "ESM2FineTuneTokenConfig"
SEQUENCE_DATA, RESIDUE_DATA, UNLABELED_DATA = (
    "InMemorySingleValueDataset",
    "InMemoryPerTokenValueDataset",
    "InMemoryProteinDataset",
)

SPLIT_FIELDS = ("split_column", "cluster_file", "cluster_identity")
LORA_FIELDS = ("lora_rank", "lora_alpha", "lora_checkpoint_path")
OF_SEQUENCES = ("level=sequence", "config_class=ESM2FineTuneSeqConfig", f"dataset_class={SEQUENCE_DATA}", "head=mlp")
OF_RESIDUES = (
    *("level=residue", f"config_class={RESIDUE_CLASS}", f"dataset_class={RESIDUE_DATA}", "head=cnn"),
    "labels_mask_column",
)


@dataclass(frozen=True, kw_only=True)
class LabeledFlags:
    """Columns of a table of proteins, and what becomes of its bad rows."""

    sequence_column: str | None = option_like(InferESM2Config, "sequence_column", None)
    id_column: str | None = option_like(InferESM2Config, "id_column", None)
    illegal: Literal["error", "unk"] = option_like(FastaFlags, "illegal", "error")
    on_bad_row: Literal["error", "skip"] = option_like(ScoreVariantsESM2Config, "on_bad_row", "error")


@dataclass(frozen=True, kw_only=True)
class FinetuneESM2Config(LabeledFlags, StrategyFlags, ComputeFlags, RunFlags):
    """Fine-tune ESM-2 to predict labels of proteins or of their residues."""

    exclusive: ClassVar[Exclusive] = (
        *StrategyFlags.exclusive,
        ("valid_data_path", ("valid_fraction", "test_fraction>0", "split", "folds", *SPLIT_FIELDS)),
        ("folds", ("valid_fraction", "test_fraction>0", "keep", "resume_from")),
        ("split=random", SPLIT_FIELDS),
        ("split=cluster", ("split_column",)),
        ("split=column", ("cluster_file", "cluster_identity")),
        ("encoder_frozen", ("lora_finetune", "num_frozen_layers>0", *LORA_FIELDS)),
        ("lora_finetune", ("num_frozen_layers>0",)),
        ("lora_finetune=False", LORA_FIELDS),
        ("num_frozen_layers>0", LORA_FIELDS),
        ("num_steps", ("num_epochs",)),
        ("find_lr", ("lr",)),
        *((one, OF_RESIDUES) for one in (*OF_SEQUENCES, "task_type=multilabel")),
    )

    restore_from_checkpoint_path: Path = option_like(PretrainConfig, "restore_from_checkpoint_path", group=DATA)
    train_data_path: Path = option(group=DATA, help="Labeled proteins: .csv, .tsv or .parquet; text also compressed.")
    valid_data_path: Path | None = option(None, group=DATA, help="Held-out proteins, like --train-data-path.")
    label_column: tuple[str, ...] = option(
        ("labels",),
        group=DATA,
        help="Columns of the labels; several make a multi-task head. Empty cells: not labeled.",
    )
    labels_mask_column: str | None = option(
        None, group=DATA, help="Column of 0 and 1 for each residue: which of them are labeled."
    )
    min_seq_length: int | None = option_like(TrainESM2Config, "min_seq_length", None, group=DATA)
    max_seq_length: int | None = option(
        None, group=DATA, help="Longest sequence in tokens with special ones; longer are bad rows. Default: any."
    )
    crop_length: int | None = option(
        None,
        group=DATA,
        help="Labels of residues: longer training proteins are cropped to a random window of so many residues in each "
        "epoch: the time of attention grows with their square. Held-out proteins stay whole. Default: all do.",
    )
    dataset_class: (
        Literal["InMemorySingleValueDataset", "InMemoryPerTokenValueDataset", "InMemoryProteinDataset"] | None
    ) = option(
        None, group=DATA, help="BioNeMo 2 compatible: what is labeled, like --level; InMemoryProteinDataset: nothing."
    )

    level: Literal["sequence", "residue"] | None = option(
        None,
        group=TASK,
        help="What is labeled: sequences (a cell is a number or a class) or residues (a character for each, or words "
        "or a JSON list). Default: what --config-class says.",
    )
    config_class: Literal["ESM2FineTuneSeqConfig", "ESM2FineTuneTokenConfig"] = option(
        "ESM2FineTuneSeqConfig", group=TASK, help="BioNeMo 2 compatible: a head of sequences or of residues."
    )
    task_type: tuple[Literal["regression", "classification", "multilabel"], ...] = option(
        ("regression",),
        group=TASK,
        help="Kind of each label column, or of all: number, class, or any number of classes separated by ';'.",
    )
    head: Literal["mlp", "cnn", "linear"] | None = option(
        None,
        group=TASK,
        help="Head. mlp: linear layers on the mean of the residues; cnn: convolutions over residues; linear: those of "
        "transformers' EsmForSequenceClassification and EsmForTokenClassification. Default: mlp, for residues cnn.",
    )
    mlp_ft_dropout: float = option(0.25, group=TASK, help="Dropout of a head of sequences.")
    mlp_hidden_size: int = option(256, group=TASK, help="Hidden size of a head of sequences.")
    mlp_target_size: int | None = option(
        None, group=TASK, help="Outputs of a head of sequences; default: as many as the data have classes."
    )
    cnn_dropout: float = option(0.25, group=TASK, help="Dropout of a head of residues.")
    cnn_hidden_size: int = option(32, group=TASK, help="Hidden size of a head of residues.")
    cnn_num_classes: int | None = option(
        None, group=TASK, help="Outputs of a head of residues; default: as many as the data have classes."
    )

    split: Literal["random", "cluster", "column"] = option(
        "random",
        group=SPLIT,
        help="How proteins are held out: at random (in folds classes evenly), whole clusters of similar sequences, or "
        "as --split-column says.",
    )
    split_column: str | None = option(
        None, group=SPLIT, help="Column of train, valid and test; with --folds of the fold's number or name."
    )
    valid_fraction: float = option_like(SharedFlags, "valid_fraction", 0.2, group=SPLIT)
    test_fraction: float = option(
        0.0, group=SPLIT, help="Test split: fraction that is held out from the choice of the best epoch too."
    )
    folds: int | None = option_like(FineTuningFlags, "folds", None, group=SPLIT)
    cluster_identity: float = option(
        0.5, group=SPLIT, help="Fraction of identical residues from which on sequences are in one cluster."
    )
    cluster_file: Path | None = option(
        None,
        group=SPLIT,
        help="Clusters instead of own ones: table of representative and member ids, as mmseqs writes.",
    )

    encoder_frozen: bool = option_like(FineTuningFlags, "encoder_frozen", False)
    num_frozen_layers: int = option_like(FineTuningFlags, "num_frozen_layers", 0)
    lora_finetune: bool = option_like(FineTuningFlags, "lora_finetune", False)
    lora_rank: int = option_like(FineTuningFlags, "lora_rank", LORA_RANK)
    lora_alpha: float = option_like(FineTuningFlags, "lora_alpha", LORA_ALPHA)
    lora_checkpoint_path: Path | None = option(
        None, group=TRAINING, help="Adapters to start from: folder of adapter_config.json (peft)."
    )
    class_weights: Literal["none", "balanced"] = option_like(FineTuningFlags, "class_weights", "none")
    num_epochs: int = option_like(FineTuningFlags, "num_epochs", 10)
    num_steps: int | None = option_like(OptimizationFlags, "num_steps", None)
    early_stop_on_step: int | None = option_like(OptimizationFlags, "early_stop_on_step", None)
    early_stopping_patience: int | None = option_like(FineTuningFlags, "early_stopping_patience", None)
    keep: Literal["best", "last"] = option_like(FineTuningFlags, "keep", "best")
    lr: float = option_like(OptimizationFlags, "lr", 4e-4)
    find_lr: bool = option(
        False,
        group=TRAINING,
        help="Learning-rate finder: 100 steps at growing rates before the training; the rate of the steepest descent "
        "replaces --lr.",
    )
    scale_lr_layer: str | None = option(
        None, group=TRAINING, help="Parameters with this in their name have a rate of their own, for example head."
    )
    lr_multiplier: float = option(1.0, group=TRAINING, help="Their rate as a multiple of --lr.")
    warmup_steps: int | None = option_like(OptimizationFlags, "warmup_steps", None)
    weight_decay: float = option_like(OptimizationFlags, "weight_decay", 0.01)
    micro_batch_size: int = option_like(SharedFlags, "micro_batch_size", 16, group=TRAINING)
    accumulate_grad_batches: int = option_like(PretrainConfig, "accumulate_grad_batches", 1)
    val_check_interval: int | None = option_like(OptimizationFlags, "val_check_interval", None)
    limit_val_batches: int | None = option(None, group=TRAINING, help="Validation batches of each rank; default: all.")
    limit_test_batches: int | None = option(
        None, group=TRAINING, help="Batches of held-out proteins that are predicted at the end; default: all."
    )
    log_every_n_steps: int | None = option_like(PretrainConfig, "log_every_n_steps", None)
    seed: int = option_like(SharedFlags, "seed", 42, group=TRAINING)
    num_dataset_workers: int = option_like(SharedFlags, "num_dataset_workers", 0, group=TRAINING)
    persistent_workers: bool = option(
        True, group=TRAINING, help="Keep the data loader's processes from one validation to the next."
    )
    pin_memory: bool = option(
        True, group=TRAINING, help="Prepare batches in memory that a GPU copies without waiting."
    )

    resume_if_exists: bool = option_like(PretrainConfig, "resume_if_exists", False)
    resume_from: Path | None = option_like(PretrainConfig, "resume_from", None)
    save_interval: int | None = option_like(PretrainConfig, "save_interval", None)
    save_every_minutes: float = option_like(PretrainConfig, "save_every_minutes", 10.0)
    save_top_k: int = option_like(PretrainConfig, "save_top_k", 1)
    save_best_checkpoint: bool = option_like(PretrainConfig, "save_best_checkpoint", True)
    save_last_checkpoint: bool = option_like(PretrainConfig, "save_last_checkpoint", True)
    metric_to_monitor_for_checkpoints: str = option(
        "val_loss",
        group=CHECKPOINTS,
        aliases=("--metric-tracker",),
        help="Metric that ranks checkpoints and stops early: val_loss, or a column such as val_acc or val_spearman.",
    )

    tensor_model_parallel_size: Literal[1] = option_like(InferESM2Config, "tensor_model_parallel_size", 1)
    pipeline_model_parallel_size: Literal[1] = option_like(InferESM2Config, "pipeline_model_parallel_size", 1)
    overlap_grad_reduce: bool = option_like(PretrainConfig, "overlap_grad_reduce", True)
    overlap_param_gather: bool = option_like(PretrainConfig, "overlap_param_gather", True)
    grad_reduce_in_fp32: bool = option_like(PretrainConfig, "grad_reduce_in_fp32", True)
    average_in_collective: bool = option_like(PretrainConfig, "average_in_collective", False)
    ckpt_async_save: bool = option_like(PretrainConfig, "ckpt_async_save", False)

    create_tensorboard_logger: bool = option_like(PretrainConfig, "create_tensorboard_logger", False)
    wandb_entity: str | None = option_like(PretrainConfig, "wandb_entity", None)
    wandb_project: str | None = option_like(PretrainConfig, "wandb_project", None)
    wandb_group: str | None = option_like(PretrainConfig, "wandb_group", None)
    wandb_id: str | None = option_like(PretrainConfig, "wandb_id", None)
    wandb_tags: tuple[str, ...] = option_like(PretrainConfig, "wandb_tags", ())
    wandb_offline: bool = option_like(PretrainConfig, "wandb_offline", False)
    wandb_anonymous: bool = option_like(PretrainConfig, "wandb_anonymous", False)
    wandb_log_model: bool = option_like(PretrainConfig, "wandb_log_model", False)

    experiment_name: str = option_like(RunFlags, "experiment_name", "esm2-finetune")

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        super().__post_init__()
        for name in ("label_column", "task_type"):  # from Python, one text may stand for a tuple of one
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, (getattr(self, name),))
        for name in AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{flag(name)} {value}: must be at least 1.")
        for name in ("seed", "num_frozen_layers", "weight_decay", "num_dataset_workers", "save_top_k"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{flag(name)} {getattr(self, name)}: must not be negative.")
        for name in ("mlp_ft_dropout", "cnn_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{flag(name)} {getattr(self, name)}: must lie in [0, 1).")
        if not 0 < self.valid_fraction < 1 or not 0 <= self.test_fraction < 1 - self.valid_fraction:
            raise ConfigError(
                f"--valid-fraction {self.valid_fraction} and --test-fraction {self.test_fraction}: must lie between 0 "
                "and 1 and leave something to train on."
            )
        if not 0 < self.cluster_identity <= 1:
            raise ConfigError(f"--cluster-identity {self.cluster_identity}: must lie above 0 and be at most 1.")
        if self.folds is not None and self.folds < 2:
            raise ConfigError(f"--folds {self.folds}: must be at least 2.")
        if self.lr <= 0 or self.lr_multiplier <= 0:
            raise ConfigError(f"--lr {self.lr}, --lr-multiplier {self.lr_multiplier}: must be above 0.")
        if self.max_seq_length is not None and self.max_seq_length < 3:
            raise ConfigError(
                f"--max-seq-length {self.max_seq_length}: must be at least 3 (a residue and two tokens)."
            )

    @property
    def labeled_level(self) -> Level:
        """What is labeled."""
        if self.level is not None:
            return self.level
        by_data = {SEQUENCE_DATA: "sequence", RESIDUE_DATA: "residue"}
        if self.dataset_class is not None and "config_class" not in explicit_fields(self):
            return "residue" if by_data.get(self.dataset_class) == "residue" else "sequence"
        return "residue" if self.config_class == RESIDUE_CLASS else "sequence"

    @property
    def kinds(self) -> tuple[TargetKind, ...]:
        """Kind of each label column."""
        if len(self.task_type) == 1:
            return self.task_type * len(self.label_column)
        return self.task_type

    @property
    def head_kind(self) -> HeadKind:
        """Head."""
        if self.head is not None:
            return self.head
        return "cnn" if self.labeled_level == "residue" else "mlp"

    @property
    def num_ranks(self) -> int:
        """Processes of the run."""
        return self.num_gpus * self.num_nodes


MEGATRON_FIELDS = tuple(
    "overlap_grad_reduce overlap_param_gather grad_reduce_in_fp32 average_in_collective ckpt_async_save".split()
)
"""Accepted (BioNeMo 2 compatible), and logged as of no effect: they belong to model parallelism."""

AT_LEAST_ONE = (
    *"num_epochs num_steps early_stop_on_step early_stopping_patience micro_batch_size".split(),
    *"accumulate_grad_batches val_check_interval limit_val_batches limit_test_batches".split(),
    *"log_every_n_steps save_interval lora_rank crop_length".split(),
    *"mlp_hidden_size mlp_target_size cnn_hidden_size cnn_num_classes num_gpus num_nodes".split(),
)


def check_flags(config: FinetuneESM2Config) -> None:
    """Refuse flags that contradict each other or the task.

    Raises:
        ConfigError: The message names the flags.
    """
    given = given_fields(config)
    check_exclusive(config)
    check_task(config)
    if config.head_kind not in HEAD_KINDS[config.labeled_level]:
        raise ConfigError(
            f"--head {config.head_kind}: labels of a {config.labeled_level} take "
            f"{' or '.join(HEAD_KINDS[config.labeled_level])}."
        )
    if config.precision in ("bf16", "fp16"):
        raise ConfigError(
            f"--precision {config.precision}: fine-tuning keeps its weights in float32. Use {config.precision}-mixed."
        )
    for name in ("lora_rank", "lora_alpha", "lora_checkpoint_path"):
        if name in given and not config.lora_finetune:
            raise ConfigError(f"{flag(name)}: has a meaning with --lora-finetune only.")
    if (config.split == "column") != (config.split_column is not None):
        raise ConfigError("--split column and --split-column NAME: give both or none.")
    for name in ("cluster_file", "cluster_identity"):
        if name in given and config.split != "cluster":
            raise ConfigError(f"{flag(name)}: has a meaning with --split cluster only.")
    if "lr_multiplier" in given and config.scale_lr_layer is None:
        raise ConfigError("--lr-multiplier: needs --scale-lr-layer NAME.")


def check_task(config: FinetuneESM2Config) -> None:
    """Refuse label columns and kinds that do not fit together.

    Raises:
        ConfigError: The message names the flags.
    """
    level = config.labeled_level
    if not config.label_column or len(set(config.label_column)) < len(config.label_column):
        raise ConfigError(f"--label-column {' '.join(config.label_column)}: name columns, each once.")
    if len(config.kinds) != len(config.label_column):
        raise ConfigError(
            f"--task-type: {len(config.task_type)} kinds for {len(config.label_column)} columns; give one or as many."
        )
    if config.dataset_class == UNLABELED_DATA:
        raise ConfigError("--dataset-class InMemoryProteinDataset: holds no labels to learn from.")
    wanted = {SEQUENCE_DATA: "sequence", RESIDUE_DATA: "residue"}.get(config.dataset_class or "", level)
    if wanted != level or (
        "config_class" in explicit_fields(config) and (config.config_class == RESIDUE_CLASS) != (level == "residue")
    ):
        raise ConfigError("--level, --config-class and --dataset-class: say different things about what is labeled.")
    if level == "sequence" and config.labels_mask_column is not None:
        raise ConfigError("--labels-mask-column: has a meaning for residues only; leave cells of sequences empty.")
    if level == "sequence" and config.crop_length is not None:
        raise ConfigError("--crop-length: has a meaning for residues only; a label of a sequence is of all of it.")
    if level == "residue" and "multilabel" in config.kinds:
        raise ConfigError("--task-type multilabel: labels sequences. Give residues several --label-column.")
    if config.class_weights == "balanced" and set(config.kinds) == {"regression"}:
        raise ConfigError("--class-weights: has no meaning with --task-type regression.")


@dataclass(frozen=True, kw_only=True)
class PredictESM2Config(LabeledFlags, ModelSourceFlags, ComputeFlags):
    """Predict labels of proteins or residues with a model of finetune_esm2; the same call resumes a killed run."""

    data_path: Path = option_like(InferESM2Config, "data_path")
    results_path: Path = option_like(SharedFlags, "results_path")
    probabilities: bool = option(
        False, group=OUTPUT, help="Also write the probability of every class, for residues a list of them."
    )
    csv: bool = option(False, group=OUTPUT, help="Also write predictions.csv, without probabilities of residues.")
    tokens_per_batch: int | None = option_like(SharedFlags, "tokens_per_batch", None, group=HARDWARE)

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        super().__post_init__()
        for name in ("tokens_per_batch", "num_gpus", "num_nodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{flag(name)} {value}: must be at least 1.")
