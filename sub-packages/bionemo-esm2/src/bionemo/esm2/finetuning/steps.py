# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""From epochs to optimizer steps, and the optimizer of a fine-tuning run."""

import math
from dataclasses import dataclass

from bionemo.core.errors import ConfigError
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.llm.training.optimizer import OptimizerConfig


ADAM_BETA2 = 0.98


@dataclass(frozen=True)
class Steps:
    """Optimizer steps: of the run, of its schedule, between validations, checkpoints and rows of metrics.csv."""

    end: int
    schedule: int
    validation: int
    save: int
    log: int


def plan_steps(config: FinetuneESM2Config, num_train: int, num_valid: int) -> Steps:
    """Turn epochs into optimizer steps.

    Raises:
        ConfigError: Some rank would have no validation batch.
    """
    batches = math.ceil(num_train / config.micro_batch_size)
    per_epoch = math.ceil(batches / (config.num_ranks * config.accumulate_grad_batches))
    valid_batches = math.ceil(num_valid / config.micro_batch_size)
    if valid_batches < config.num_ranks:
        raise ConfigError(
            f"{num_valid} validation proteins make {valid_batches} batches for {config.num_ranks} ranks. Lower "
            "--micro-batch-size or raise --valid-fraction."
        )
    schedule = config.num_steps or config.num_epochs * per_epoch
    validation = min(config.val_check_interval or per_epoch, schedule)
    return Steps(
        end=min(schedule, config.early_stop_on_step or schedule),
        schedule=schedule,
        validation=validation,
        save=config.save_interval or validation,
        log=config.log_every_n_steps or max(1, min(50, per_epoch // 4)),
    )


def optimizer_config(config: FinetuneESM2Config, steps: Steps, lr: float) -> OptimizerConfig:
    """Build the settings of AdamW; the warm-up is the smaller of 500 steps and 10 % of all."""
    warmup = min(500, steps.schedule // 10) if config.warmup_steps is None else config.warmup_steps
    if warmup > steps.schedule:
        raise ConfigError(f"--warmup-steps {warmup} exceeds the run's {steps.schedule} steps.")
    return OptimizerConfig(
        lr=lr,
        warmup_steps=warmup,
        max_steps=steps.schedule,
        weight_decay=config.weight_decay,
        beta2=ADAM_BETA2,
        scaled_layer=config.scale_lr_layer or "",
        lr_multiplier=config.lr_multiplier,
    )
