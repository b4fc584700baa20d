# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Numerical error of a faster way to compute a model, apart from the chaos of training.

Two trainings that differ in the last bit drift apart, most where training is unstable, so their curves say little
about either. Here one model is trained in float32, and at some of its steps each variant computes loss and gradients
of the same batch with the same weights. Needs bionemo-llm.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bionemo.core.optional_deps import require


Loss = Callable[[nn.Module, Mapping[str, Any]], Tensor]
"""Mean loss of a batch, differentiable."""


class Variant(NamedTuple):
    """A way to compute a model.

    Attributes:
        prepare: Applied once to the variant's copy of the model, for example to compile it.
        loss: ``(model, batch) -> mean loss``.
    """

    prepare: Callable[[Any], None]
    loss: Loss


class Difference(NamedTuple):
    """How far a variant is from float32 at one step.

    Attributes:
        variant: Its name.
        step: The step, counted from 1.
        loss: Relative difference of the loss.
        cosine: Cosine of the gradients, of the layer where it is smallest.
        layer: That layer.
    """

    variant: str
    step: int
    loss: float
    cosine: float
    layer: str


def differences_along_a_run(
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    exact: Loss,
    variants: Mapping[str, Variant],
    *,
    steps: tuple[int, ...],
    peak_lr: float = 4e-4,
    warmup_steps: int = 50,
) -> list[Difference]:
    """Train in float32 and compare every variant with it at some steps.

    Args:
        model: In training mode on its device, without dropout; it is trained.
        batches: As many as the last step.
        exact: Mean loss of a batch in float32.
        variants: Name to variant.
        steps: Where to compare, counted from 1, before that step's update.
        peak_lr: Of AdamW with the clipping of a run, after a linear warm-up.
        warmup_steps: Its length.

    Returns:
        A row for each variant and step.
    """
    optimizer_module = require("bionemo.llm.training.optimizer", extra="bionemo-llm")
    optimizer = optimizer_module.build_optimizer(model, optimizer_module.OptimizerConfig(lr=peak_lr))
    parameters = [p for p in model.parameters() if p.requires_grad]
    twins = {name: copy.deepcopy(model) for name in variants}
    for name, variant in variants.items():
        variant.prepare(twins[name])
    found = []
    for step, batch in enumerate(batches, start=1):
        loss = exact(model, batch)
        loss.backward()
        if step in steps:
            expected = gradients_by_layer(model)
            for name, variant in variants.items():
                twin = twins[name]
                twin.load_state_dict(model.state_dict())
                own_loss = variant.loss(twin, batch)
                own_loss.backward()
                layer, cosine = smallest_cosine(expected, gradients_by_layer(twin))
                relative = abs(own_loss.item() / loss.item() - 1)
                found.append(Difference(name, step, relative, cosine, layer))
                twin.zero_grad(set_to_none=True)
        for group in optimizer.param_groups:
            group["lr"] = peak_lr * min(step / warmup_steps, 1.0)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step == max(steps):
            break
    return found


def gradients_by_layer(model: nn.Module) -> dict[str, Tensor]:
    """Return the gradients of each encoder layer, and of each module beside the encoder, as one float64 vector."""
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            names = name.split(".")
            layer = ".".join(names[:3]) if names[:2] == ["encoder", "layers"] else names[0]
            parts.setdefault(layer, []).append(parameter.grad.detach().double().flatten())
    return {layer: torch.cat(gradients) for layer, gradients in parts.items()}


def smallest_cosine(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> tuple[str, float]:
    """Return the layer whose gradients agree least, and their cosine."""
    assert expected.keys() == found.keys()
    cosines = {name: torch.cosine_similarity(expected[name], found[name], dim=0).item() for name in expected}
    worst = min(cosines, key=lambda name: cosines[name])
    return worst, cosines[worst]
