# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the example's three steps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.cache_dir import BIONEMO_CACHE_DIR
from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.flag_groups import SharedFlags
from bionemo.llm.flag_groups import ComputeFlags, DeviceFlags, OptimizationFlags


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Settings of all three steps."""

    data_dir: Path = option(BIONEMO_CACHE_DIR, help="Folder with MNIST's IDX files; without them digits are drawn.")
    batch_size: int = option(128, help="Digits per rank and step.")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataConfig):
    """Train the auto-encoder; the result is a checkpoint and a picture of reconstructions."""

    result_dir: Path = option(Path("results/example_model/pretrain"), help="Where checkpoint and picture go.")
    num_steps: int = option_like(OptimizationFlags, "num_steps", 200)
    lr: float = option_like(OptimizationFlags, "lr", 3e-3)
    val_check_interval: int = option_like(OptimizationFlags, "val_check_interval", 50)
    limit_val_batches: int = option(5, help="Batches of a validation.")
    num_gpus: int = option_like(ComputeFlags, "num_gpus", 1)
    accelerator: Literal["auto", "cpu", "gpu"] = option_like(DeviceFlags, "accelerator", "auto")
    precision: Literal["auto", "fp32", "bf16-mixed"] = option_like(DeviceFlags, "precision", "auto")
    seed: int = option_like(SharedFlags, "seed", 42)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained.

        Raises:
            ConfigError: A size below one.
        """
        for name in ("num_steps", "batch_size", "val_check_interval", "limit_val_batches", "num_gpus"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected 1 or more.")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainConfig):
    """Train a digit classifier from the auto-encoder's checkpoint."""

    result_dir: Path = option(Path("results/example_model/finetune"), help="Where the checkpoint goes.")
    checkpoint_path: Path = option(
        Path("results/example_model/pretrain/checkpoint"),
        aliases=("--checkpoint",),
        help="What train, or an earlier finetune, left.",
    )
    num_steps: int = option_like(OptimizationFlags, "num_steps", 300)
    keep_decoder: bool = option(False, help="Train the decoder too: classification plus reconstruction loss.")
    freeze_parent: bool = option(False, help="Train the classifier alone; all other weights stay as they are.")


@dataclass(frozen=True, kw_only=True)
class PredictConfig(DataConfig):
    """Classify the test digits; the result is predictions.csv (idx, label, prediction) and a picture."""

    result_dir: Path = option(Path("results/example_model/predict"), help="Where table and picture go.")
    checkpoint_path: Path = option(
        Path("results/example_model/finetune/checkpoint"), aliases=("--checkpoint",), help="What finetune left."
    )
    num_digits: int | None = option(None, help="How many test digits; default: all.")
