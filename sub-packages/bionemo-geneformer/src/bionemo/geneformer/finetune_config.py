# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of Geneformer's fine-tuning."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import explicit_fields, option
from bionemo.core.errors import ConfigError


DATA, TASK, TRAINING, HARDWARE, OUTPUT = "data", "task", "training", "hardware", "output"


@dataclass(frozen=True, kw_only=True)
class FinetuneGeneformerConfig:
    """Fine-tune Geneformer to predict labels of cells or genes, to a checkpoint that transformers opens."""

    restore_from_checkpoint_path: Path = option(
        group=DATA, help="Pretrained model: folder in Hugging Face layout, pretrained or fine-tuned before."
    )
    train_data_path: Path = option(
        group=DATA, help="Cells: folder of tokenize_geneformer, .parquet, .h5ad or SCDL archive."
    )
    valid_data_path: Path | None = option(None, group=DATA, help="Validation cells, like --train-data-path.")
    valid_fraction: float = option(
        0.2, group=DATA, help="Share of the training cells (genes) held out when no --valid-data-path is given."
    )
    folds: int | None = option(
        None, group=DATA, help="Instead: cross-validate on this many stratified folds, and pool their predictions."
    )
    token_dictionary: Path | None = option(
        None, group=DATA, help="Gene to token id, JSON; default: that of the checkpoint."
    )
    gene_medians: Path | None = option(
        None, group=DATA, help="Gene to median, JSON, to rank counts; default: that of the checkpoint."
    )
    gene_names: Path | None = option(None, group=DATA, help="Gene symbol to Ensembl id, JSON.")
    gene_mapping: Path | None = option(
        None, group=DATA, help="Identifier in the data to symbol or Ensembl id, JSON: other species, old ids."
    )
    gene_column: str | None = option(
        None, group=DATA, help="Column that names the genes of counts; default: the one with most known genes."
    )
    min_coverage: float = option(0.3, group=DATA, help="Share of the counts that known genes must hold at least.")
    allow_fractional_counts: bool = option(False, group=DATA, help="Take counts that are not whole numbers.")
    empty_cells: Literal["error", "skip"] = option("error", group=DATA, help="Cells without a known gene.")
    seq_length: int | None = option(None, group=DATA, help="Longest cell in tokens; default: the model's positions.")

    task_type: Literal["cell-classification", "gene-classification", "regression"] = option(
        "cell-classification", group=TASK, help="What is predicted: a cell's class, its genes' classes, its value."
    )
    label_column: str | None = option(
        None, group=TASK, help="Column of the cells' labels; cells without one are left out."
    )
    gene_labels: Path | None = option(None, group=TASK, help="Gene (Ensembl id or symbol) to class, JSON.")
    pooling: Literal["first", "mean"] = option(
        "first", group=TASK, help="A cell is its first token, as transformers has it, or the mean of its genes."
    )
    head_dropout: float = option(0.1, group=TASK, help="Dropout before the last layer.")

    class_weights: Literal["none", "balanced"] = option(
        "none", group=TRAINING, help="Whether rare classes count as much in the loss as frequent ones."
    )
    standardize_cells: bool = option(
        True, group=TRAINING, help="Bring what the head sees of cells to mean 0 and variance 1; same model on saving."
    )
    encoder_frozen: bool = option(False, group=TRAINING, help="Train the head alone.")
    num_frozen_layers: int = option(0, group=TRAINING, help="Keep the embeddings and this many first layers.")
    lora_finetune: bool = option(False, group=TRAINING, help="Train low-rank adapters in place of the matrices.")
    lora_rank: int = option(8, group=TRAINING, help="Inner dimension of the adapters.")
    lora_alpha: float = option(16.0, group=TRAINING, help="Scale of the adapters, divided by the rank.")
    num_epochs: int = option(10, group=TRAINING, aliases=("--max-epochs",), help="Passes over the training cells.")
    lr: float = option(5e-5, group=TRAINING, help="Peak learning rate.")
    warmup_steps: int | None = option(
        None, group=TRAINING, help="Steps to the peak; the smaller of 500 and 10 % of the steps."
    )
    weight_decay: float = option(0.001, group=TRAINING, help="Decoupled weight decay of matrices.")
    micro_batch_size: int = option(12, group=TRAINING, help="Cells of an optimizer step.")
    keep: Literal["best", "last"] = option(
        "best", group=TRAINING, help="Which epoch's model is saved; with --folds always the last."
    )
    seed: int = option(42, group=TRAINING, help="Seed of the head, the order, the split and dropout.")

    accelerator: Literal["auto", "cpu", "gpu"] = option("auto", group=HARDWARE, help="Where to train.")
    precision: Literal["auto", "fp32", "bf16-mixed", "16-mixed"] = option(
        "auto", group=HARDWARE, help="bf16-mixed on a GPU and fp32 on a CPU, unless given."
    )
    num_dataset_workers: int = option(0, group=HARDWARE, help="Processes that prepare batches.")

    result_dir: Path = option(Path("results"), group=OUTPUT, help="Runs are folders in here.")
    experiment_name: str = option("geneformer-finetune", group=OUTPUT, help="Folder of this run.")

    def __post_init__(self) -> None:
        """Check each value by itself.

        Raises:
            ConfigError: A number is out of range; the message names the flag.
        """
        for name, least in (("num_epochs", 1), ("micro_batch_size", 1), ("lora_rank", 1), ("folds", 2)):
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
        if not self.experiment_name or "/" in self.experiment_name:
            raise ConfigError(f"--experiment-name {self.experiment_name!r}: must be one folder name.")


def flag(name: str) -> str:
    """Spell a field as its flag."""
    return "--" + name.replace("_", "-")


EXCLUSIVE = (
    ("valid_data_path", "valid_fraction"),
    ("folds", "valid_data_path"),
    ("folds", "valid_fraction"),
    ("folds", "keep"),
    ("encoder_frozen", "lora_finetune"),
    ("encoder_frozen", "num_frozen_layers"),
    ("lora_finetune", "num_frozen_layers"),
)


def check_flags(config: FinetuneGeneformerConfig) -> None:
    """Refuse flags that contradict each other or the task.

    Raises:
        ConfigError: The message names the flags.
    """
    given = {name for name in explicit_fields(config) if getattr(config, name)}
    for one, other in EXCLUSIVE:
        if one in given and other in given:
            raise ConfigError(f"{flag(one)} and {flag(other)} contradict each other; give one of them.")
    for name in ("lora_rank", "lora_alpha"):
        if name in given and not config.lora_finetune:
            raise ConfigError(f"{flag(name)}: has a meaning with --lora-finetune only.")
    if config.task_type == "gene-classification":
        if config.gene_labels is None:
            raise ConfigError("--task-type gene-classification: needs --gene-labels FILE.json.")
        for name in ("label_column", "pooling", "folds"):
            if name in given:
                raise ConfigError(f"{flag(name)}: has no meaning with --task-type gene-classification.")
    elif config.label_column is None:
        raise ConfigError(f"--task-type {config.task_type}: needs --label-column.")
    elif config.gene_labels is not None:
        raise ConfigError("--gene-labels: has a meaning with --task-type gene-classification only.")
    if config.task_type == "regression" and "class_weights" in given:
        raise ConfigError("--class-weights: has no meaning with --task-type regression.")
    if config.task_type == "regression" and config.folds is not None:
        raise ConfigError("--folds: are stratified by class; give --valid-data-path for a regression.")
