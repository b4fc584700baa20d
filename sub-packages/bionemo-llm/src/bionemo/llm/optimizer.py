# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The optimizer of a run: AdamW without decay on biases and norms."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its schedule; the defaults are ESM-2's (Lin et al. 2023).

    Attributes:
        lr: Peak learning rate.
        warmup_steps: Optimizer steps until the peak.
        max_steps: Step at which the schedule would reach zero; it is held at a tenth of the peak.
        weight_decay: Decoupled decay of matrices.
        beta1, beta2, eps: Adam's constants.
        gradient_clip: Largest 2-norm of all gradients together.
    """

    lr: float = 4e-4
    warmup_steps: int = 2000
    max_steps: int = 500_000
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-8
    gradient_clip: float = 1.0

    @property
    def min_lr(self) -> float:
        """Rate of the first warm-up step."""
        return self.lr / 10


def trainable_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Name the parameters that are trained, in the order in which the optimizer numbers them: matrices first."""
    named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    return dict(sorted(named.items(), key=lambda item: item[1].ndim < 2))


def build_optimizer(module: nn.Module, config: OptimizerConfig, *, fused: bool = True) -> torch.optim.AdamW:
    """Build AdamW in two groups; parameters with fewer than two dimensions do not decay.

    Args:
        module: Its trainable parameters are stepped.
        config: Constants.
        fused: Use torch's fused kernel where the device has one.
    """
    parameters = trainable_parameters(module).values()
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = fused and all(p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.AdamW(
        groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=fused, foreach=False
    )
