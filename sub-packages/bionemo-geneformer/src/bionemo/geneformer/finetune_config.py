# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of Geneformer's fine-tuning."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from bionemo.core.config import check_exclusive, given_fields, option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.exclusive_settings import Exclusive
from bionemo.core.flag_groups import RunFlags, SharedFlags
from bionemo.geneformer.flag_groups import CellFlags, CountFlags, DictionaryFlags
from bionemo.llm.flag_groups import ComputeFlags, DeviceFlags, FineTuningFlags, OptimizationFlags, StrategyFlags
from bionemo.llm.training.config import PretrainConfig, flag


DATA, TASK, TRAINING, HARDWARE, OUTPUT = "data", "task", "training", "hardware", "output"


@dataclass(frozen=True, kw_only=True)
class FinetuneGeneformerConfig(DictionaryFlags, CountFlags, StrategyFlags, ComputeFlags, RunFlags):
    """Fine-tune Geneformer to predict labels of cells or genes, to a checkpoint that transformers opens."""

    exclusive: ClassVar[Exclusive] = (
        *StrategyFlags.exclusive,
        ("valid_data_path", ("valid_fraction",)),
        ("folds", ("valid_data_path", "valid_fraction", "keep", "resume_from")),
        ("encoder_frozen", ("lora_finetune", "num_frozen_layers>0")),
        ("lora_finetune", ("num_frozen_layers>0",)),
        ("lora_finetune=False", ("lora_rank", "lora_alpha")),
        ("task_type=gene-classification", ("label_column", "pooling", "folds")),
        ("task_type=cell-classification", ("gene_labels",)),
        ("task_type=regression", ("gene_labels", "folds", "class_weights=balanced")),
        ("label_column", ("gene_labels",)),
    )

    restore_from_checkpoint_path: Path = option_like(PretrainConfig, "restore_from_checkpoint_path", group=DATA)
    train_data_path: Path = option(
        group=DATA,
        help="Cells: folder of tokenize_geneformer, .parquet, or counts (SCDL archive, .h5ad, zarr, 10x .h5, mtx).",
    )
    valid_data_path: Path | None = option(None, group=DATA, help="Validation cells, like --train-data-path.")
    valid_fraction: float = option_like(SharedFlags, "valid_fraction", 0.2, group=DATA)
    folds: int | None = option_like(FineTuningFlags, "folds", None, group=DATA)
    empty_cells: Literal["error", "skip"] = option_like(CellFlags, "empty_cells", "error")
    seq_length: int | None = option_like(CellFlags, "seq_length", None)

    task_type: Literal["cell-classification", "gene-classification", "regression"] = option(
        "cell-classification", group=TASK, help="What is predicted: a cell's class, its genes' classes, its value."
    )
    label_column: str | None = option_like(CellFlags, "label_column", None, group=TASK)
    gene_labels: Path | None = option(None, group=TASK, help="Gene (Ensembl id or symbol) to class, JSON.")
    pooling: Literal["first", "mean"] = option(
        "first", group=TASK, help="A cell is its first token, as transformers has it, or the mean of its genes."
    )
    head_dropout: float = option(0.1, group=TASK, help="Dropout before the last layer.")

    class_weights: Literal["none", "balanced"] = option_like(FineTuningFlags, "class_weights", "none")
    standardize_cells: bool = option(
        True, group=TRAINING, help="Bring what the head sees of cells to mean 0 and variance 1; same model on saving."
    )
    encoder_frozen: bool = option_like(FineTuningFlags, "encoder_frozen", False)
    num_frozen_layers: int = option_like(FineTuningFlags, "num_frozen_layers", 0)
    lora_finetune: bool = option_like(FineTuningFlags, "lora_finetune", False)
    lora_rank: int = option_like(FineTuningFlags, "lora_rank", 8)
    lora_alpha: float = option_like(FineTuningFlags, "lora_alpha", 16.0)
    num_epochs: int = option_like(FineTuningFlags, "num_epochs", 10)
    lr: float = option_like(OptimizationFlags, "lr", 5e-5)
    warmup_steps: int | None = option_like(OptimizationFlags, "warmup_steps", None)
    weight_decay: float = option_like(OptimizationFlags, "weight_decay", 0.001)
    micro_batch_size: int = option_like(SharedFlags, "micro_batch_size", 12, group=TRAINING)
    accumulate_grad_batches: int = option_like(PretrainConfig, "accumulate_grad_batches", 1, group=TRAINING)
    early_stop_on_step: int | None = option_like(OptimizationFlags, "early_stop_on_step", None)
    early_stopping_patience: int | None = option_like(FineTuningFlags, "early_stopping_patience", None)
    keep: Literal["best", "last"] = option_like(FineTuningFlags, "keep", "best")
    seed: int = option_like(SharedFlags, "seed", 42, group=TRAINING)

    precision: Literal["auto", "fp32", "bf16-mixed", "16-mixed"] = option_like(DeviceFlags, "precision", "auto")
    num_dataset_workers: int = option_like(SharedFlags, "num_dataset_workers", 0, group=HARDWARE)

    resume_if_exists: bool = option_like(PretrainConfig, "resume_if_exists", False)
    resume_from: Path | None = option_like(PretrainConfig, "resume_from", None)
    save_interval: int | None = option_like(PretrainConfig, "save_interval", None)
    save_every_minutes: float = option_like(PretrainConfig, "save_every_minutes", 10.0)

    experiment_name: str = option_like(RunFlags, "experiment_name", "geneformer-finetune")

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        super().__post_init__()
        for name, least in (
            ("num_epochs", 1),
            ("micro_batch_size", 1),
            ("lora_rank", 1),
            ("folds", 2),
            ("num_gpus", 1),
            ("num_nodes", 1),
            ("early_stop_on_step", 1),
            ("early_stopping_patience", 1),
            ("save_interval", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{flag(name)} {value}: must be at least {least}.")
        for name in ("seed", "num_frozen_layers", "weight_decay", "num_dataset_workers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{flag(name)} {getattr(self, name)}: must not be negative.")
        if self.lr <= 0:
            raise ConfigError(f"--lr {self.lr}: must be above 0.")
        if not 0 < self.valid_fraction <= 0.5:
            raise ConfigError(f"--valid-fraction {self.valid_fraction}: must lie above 0 and be at most 0.5.")
        if not 0 <= self.head_dropout < 1:
            raise ConfigError(f"--head-dropout {self.head_dropout}: must lie in [0, 1).")


def check_flags(config: FinetuneGeneformerConfig) -> None:
    """Refuse flags that contradict each other or the task.

    Raises:
        ConfigError: The message names the flags.
    """
    given = given_fields(config)
    check_exclusive(config)
    for name in ("lora_rank", "lora_alpha"):
        if name in given and not config.lora_finetune:
            raise ConfigError(f"{flag(name)}: has a meaning with --lora-finetune only.")
    if config.task_type == "gene-classification":
        if config.gene_labels is None:
            raise ConfigError("--task-type gene-classification: needs --gene-labels FILE.json.")
    elif config.label_column is None:
        raise ConfigError(f"--task-type {config.task_type}: needs --label-column.")
    elif config.gene_labels is not None:
        raise ConfigError("--gene-labels: has a meaning with --task-type gene-classification only.")
    if config.task_type == "regression" and config.class_weights == "balanced":
        raise ConfigError("--class-weights: has no meaning with --task-type regression.")
    if config.task_type == "regression" and config.folds is not None:
        raise ConfigError("--folds: are stratified by class; give --valid-data-path for a regression.")
