# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the small GPT's pretraining."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bionemo.core.config import option
from bionemo.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class GPTPretrainConfig:
    """Pretrain a small GPT on the bytes of a text file."""

    data_path: Path = option(help="Text file; its bytes are the tokens.")
    valid_fraction: float = option(0.05, help="Share at the file's end that is held out for validation.")
    result_dir: Path = option(Path("results"), help="Where run directories lie.")
    experiment_name: str = option("gpt", help="Name of this run's directory.")
    resume_if_exists: bool = option(False, help="Continue the run in that directory from its last checkpoint.")
    num_layers: int = option(4, help="Transformer layers.")
    hidden_size: int = option(128, help="Channels.")
    num_attention_heads: int = option(4, help="Heads of each layer.")
    max_seq_length: int = option(256, help="Tokens of a sample.")
    micro_batch_size: int = option(16, help="Samples per rank and step.")
    num_steps: int = option(1000, aliases=("--max-steps",), help="Optimizer steps.")
    early_stop_on_step: int | None = option(None, help="End the run here, the schedule unchanged.")
    lr: float = option(1e-3, help="Peak learning rate, after a tenth of the steps.")
    weight_decay: float = option(0.1, help="Decoupled decay of matrices.")
    val_check_interval: int = option(100, help="Optimizer steps between validations and checkpoints.")
    limit_val_batches: int = option(20, help="Micro-batches of a validation, at most.")
    devices: int = option(1, aliases=("--num-gpus",), help="Processes, or GPUs, of this machine.")
    accelerator: Literal["auto", "cpu", "gpu"] = option("auto", help="What to train on.")
    precision: Literal["auto", "fp32", "bf16-mixed"] = option("auto", help="auto is bf16-mixed on a GPU.")
    seed: int = option(42, help="Seed of weights and data order.")

    def __post_init__(self) -> None:
        """Refuse impossible settings.

        Raises:
            ConfigError: A size below one, or one that does not divide.
        """
        for name in ("num_layers", "hidden_size", "num_attention_heads", "max_seq_length", "micro_batch_size",
                     "num_steps", "val_check_interval", "limit_val_batches", "devices"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected 1 or more.")
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(f"--hidden-size {self.hidden_size}: not a multiple of {self.num_attention_heads} heads.")
        if not 0 < self.valid_fraction < 1:
            raise ConfigError(f"--valid-fraction {self.valid_fraction}: expected more than 0 and less than 1.")
