# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The optimizer of a run, AdamW without decay on biases and norms, and its learning-rate schedule."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from bionemo.core.errors import ConfigError
from bionemo.llm.model.lr_scheduler import WarmupAnnealDecayHold, WarmupCosineHold


SCHEDULES = ("linear", "cosine")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its schedule; the defaults are ESM-2's (Lin et al. 2023).

    Attributes:
        lr: Peak learning rate.
        warmup_steps: Optimizer steps until the peak.
        schedule: "linear" decays towards zero at ``max_steps`` and is held at a tenth of the peak; "cosine" decays to
            a hundredth of the peak and is held there for the last ``hold_steps`` of ``max_steps``.
        max_steps: Optimizer steps of the whole schedule.
        hold_steps: Of the cosine schedule alone.
        weight_decay: Decoupled decay of matrices.
        beta1, beta2, eps: Adam's constants.
        gradient_clip: Largest 2-norm of all gradients together.
        scaled_layer: Parameters with this in their names have a rate of their own, `lr_multiplier` times the others';
            empty: none.
        lr_multiplier: See `scaled_layer`.
    """

    lr: float = 4e-4
    warmup_steps: int = 2000
    schedule: str = "linear"
    max_steps: int = 500_000
    hold_steps: int = 0
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-8
    gradient_clip: float = 1.0
    scaled_layer: str = ""
    lr_multiplier: float = 1.0

    def __post_init__(self) -> None:
        """Check the name of the schedule.

        Raises:
            ConfigError: There is no such schedule.
        """
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"schedule {self.schedule}: not one of {', '.join(SCHEDULES)}.")

    @property
    def min_lr(self) -> float:
        """Rate of the first warm-up step (linear), or the floor (cosine)."""
        return self.lr / (100 if self.schedule == "cosine" else 10)


def trainable_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Name the parameters that are trained: matrices first."""
    named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    return dict(sorted(named.items(), key=lambda item: item[1].ndim < 2))


def parameters_in_order(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, nn.Parameter]:
    """Name the parameters of an optimizer, in the order in which its state numbers them."""
    names = {id(parameter): name for name, parameter in trainable_parameters(module).items()}
    return {names[id(parameter)]: parameter for group in optimizer.param_groups for parameter in group["params"]}


def build_optimizer(module: nn.Module, config: OptimizerConfig, *, fused: bool = True) -> torch.optim.AdamW:
    """Build AdamW in groups; parameters with fewer than two dimensions do not decay.

    Args:
        module: Its trainable parameters are stepped.
        config: Constants.
        fused: Use torch's fused kernel where the device has one.

    Raises:
        ConfigError: No trainable parameter has `scaled_layer` in its name.
    """
    named = trainable_parameters(module)
    parameters = named.values()
    groups: list[dict[str, Any]] = []
    for decays, weight_decay in ((True, config.weight_decay), (False, 0.0)):
        chosen = {name: p for name, p in named.items() if (p.ndim >= 2) == decays}
        scaled = [p for name, p in chosen.items() if config.scaled_layer and config.scaled_layer in name]
        plain = [p for name, p in chosen.items() if not (config.scaled_layer and config.scaled_layer in name)]
        if plain or not scaled:
            groups.append({"params": plain, "weight_decay": weight_decay})
        if scaled:
            groups.append({"params": scaled, "weight_decay": weight_decay, "lr_multiplier": config.lr_multiplier})
    if config.scaled_layer and not any("lr_multiplier" in group for group in groups):
        raise ConfigError(f"scaled layer {config.scaled_layer!r}: no trained parameter has this in its name.")
    fused = fused and all(p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.AdamW(
        groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=fused, foreach=False
    )


def build_schedule(optimizer: torch.optim.Optimizer, config: OptimizerConfig) -> LRScheduler:
    """Build the schedule of an optimizer's learning rate, at its first step."""
    if config.schedule == "cosine":
        return WarmupCosineHold(
            optimizer,
            warmup_steps=config.warmup_steps,
            max_steps=config.max_steps,
            hold_steps=config.hold_steps,
            max_lr=config.lr,
            min_lr=config.min_lr,
        )
    return WarmupAnnealDecayHold(
        optimizer,
        warmup_steps=config.warmup_steps,
        max_steps=config.max_steps,
        max_lr=config.lr,
        min_lr=config.min_lr,
    )


def build_schedule_of_one(config: OptimizerConfig) -> LRScheduler:
    """Build the schedule alone, over a parameter that nobody trains, to ask it for rates."""
    return build_schedule(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=config.lr), config)
