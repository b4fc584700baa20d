# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the small GPT's pretraining."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import option, option_like
from bionemo.core.errors import ConfigError
from bionemo.core.flag_groups import RunFlags, SharedFlags
from bionemo.llm.flag_groups import ComputeFlags, DeviceFlags, OptimizationFlags, TransformerSizeFlags
from bionemo.llm.training.config import PretrainConfig


@dataclass(frozen=True, kw_only=True)
class GPTPretrainConfig(DeviceFlags, RunFlags):
    """Pretrain a small GPT on the bytes of a text file."""

    data_path: Path = option(help="Text file; its bytes are the tokens.")
    valid_fraction: float = option_like(SharedFlags, "valid_fraction", 0.05)
    experiment_name: str = option_like(RunFlags, "experiment_name", "gpt")
    resume_if_exists: bool = option_like(PretrainConfig, "resume_if_exists", False)
    num_layers: int = option_like(TransformerSizeFlags, "num_layers", 4)
    hidden_size: int = option_like(TransformerSizeFlags, "hidden_size", 128)
    num_attention_heads: int = option_like(TransformerSizeFlags, "num_attention_heads", 4)
    max_seq_length: int = option(256, help="Tokens of a sample.")
    micro_batch_size: int = option_like(SharedFlags, "micro_batch_size", 16)
    num_steps: int = option_like(OptimizationFlags, "num_steps", 1_000)
    early_stop_on_step: int | None = option_like(OptimizationFlags, "early_stop_on_step", None)
    lr: float = option_like(OptimizationFlags, "lr", 1e-3)
    weight_decay: float = option_like(OptimizationFlags, "weight_decay", 0.1)
    val_check_interval: int = option_like(OptimizationFlags, "val_check_interval", 100)
    limit_val_batches: int = option(20, help="Micro-batches of a validation, at most.")
    num_gpus: int = option_like(ComputeFlags, "num_gpus", 1)
    precision: Literal["auto", "fp32", "bf16-mixed"] = option_like(DeviceFlags, "precision", "auto")
    seed: int = option_like(SharedFlags, "seed", 42)

    def __post_init__(self) -> None:
        """Refuse impossible settings.

        Raises:
            ConfigError: A size below one, or one that does not divide.
        """
        super().__post_init__()
        for name in ("num_layers", "hidden_size", "num_attention_heads", "max_seq_length", "micro_batch_size",
                     "num_steps", "val_check_interval", "limit_val_batches", "num_gpus"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected 1 or more.")
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(f"--hidden-size {self.hidden_size}: not a multiple of {self.num_attention_heads} heads.")
        if not 0 < self.valid_fraction < 1:
            raise ConfigError(f"--valid-fraction {self.valid_fraction}: expected more than 0 and less than 1.")
