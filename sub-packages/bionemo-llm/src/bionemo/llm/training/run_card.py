# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The model card of a pretraining run: what its settings and data sets say."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bionemo.llm.checkpoints.hub import parse_hub_name
from bionemo.llm.checkpoints.model_card import ModelCard
from bionemo.llm.checkpoints.training_state import Progress
from bionemo.llm.training.config import DATA, flag, is_given
from bionemo.llm.training.optimizer import OptimizerConfig
from bionemo.llm.training.resolve import ResolvedRun
from bionemo.llm.training.run_beginning import RECORDED_PACKAGES, installed_version
from bionemo.llm.training.task import Datasets, PretrainTask


METRIC_LABELS = {
    "train_loss": "train_loss (nats per selected token)",
    "val_loss": "val_loss (nats per selected token)",
    "val_loss_masked": "val_loss_masked (every selected token masked)",
    "val_ppl": "val_ppl (exp of val_loss)",
}


def pretraining_card(resolved: ResolvedRun, task: PretrainTask, datasets: Datasets) -> ModelCard:
    """Describe a run for the cards of its checkpoints.

    Args:
        resolved: Settings of the run.
        task: What the model family brings.
        datasets: Of the run.
    """
    config = resolved.asked
    num_packs = config.accumulate_grad_batches * max(1, resolved.num_ranks // resolved.parallel.model_parallel_size)
    opening = task.opening if resolved.engine == "lightning" else "consolidate_checkpoint {path} OUT_DIR"
    return ModelCard(
        title=f"{task.name}, run {config.experiment_name}",
        summary=f"{task.name}, pretrained to predict masked tokens, by BioNeMo {installed_version('bionemo-llm')}.",
        opening=opening,
        data={
            **given_data(config),
            "training sequences": len(datasets.train),
            "validation sequences": len(datasets.valid),
            "unigram cross-entropy of the validation tokens (nats/token)": float(datasets.unigram_loss),
        },
        settings={
            **optimizer_rows(task.optimizer),
            "tokens per optimizer step, at most": resolved.max_tokens * num_packs,
            "longest sample (tokens)": resolved.max_seq_length,
            "masking": f"{config.mask_prob:g} of the tokens selected, of these {config.mask_token_prob:g} masked and "
            f"{config.random_token_prob:g} replaced by random ones",
            "precision": resolved.precision,
            "training engine": f"{resolved.engine}, {resolved.num_ranks} rank{'s' * (resolved.num_ranks > 1)}",
            "seed": config.seed,
            "versions": ", ".join(f"{name} {installed_version(name)}" for name in RECORDED_PACKAGES),
        },
        tags=task.tags,
        pipeline_tag="fill-mask" if task.objective is None else None,
        base_model=hub_name_of(task.start_from),
    )


def optimizer_rows(optimizer: OptimizerConfig) -> dict[str, Any]:
    """Rows of a card about the optimizer and its schedule."""
    return {
        "optimizer": f"AdamW, betas {optimizer.beta1:g} and {optimizer.beta2:g}, eps {optimizer.eps:g}, weight decay "
        f"{optimizer.weight_decay:g}, gradients clipped at {optimizer.gradient_clip:g}",
        "learning rate": f"{optimizer.lr:g}, {optimizer.warmup_steps} warm-up steps, {optimizer.schedule} over "
        f"{optimizer.max_steps} steps",
    }


def given_data(config: Any) -> dict[str, str]:
    """Return the flags about data that were given, as they are spelled; of files the names without their folders."""
    groups = {each.name: each.metadata.get("group") for each in dataclasses.fields(config)}
    rows = {}
    for name, group in groups.items():
        value = getattr(config, name)
        if group == DATA and value not in (None, ()) and is_given(config, name):
            values = value if isinstance(value, tuple) else (value,)
            rows[flag(name)] = ", ".join(
                each.name or str(each) if isinstance(each, Path) else str(each) for each in values
            )
    return rows


def reached(progress: Progress, metrics: Mapping[str, float]) -> dict[str, Any]:
    """Rows of a card about how far training has come and what was measured there."""
    return {
        "optimizer steps": progress.step,
        "training sequences seen": progress.consumed_sequences,
        "training tokens seen": progress.consumed_tokens,
        **{METRIC_LABELS.get(name, name): float(value) for name, value in metrics.items()},
    }


def hub_name_of(source: str | os.PathLike[str] | None) -> str | None:
    """Return the repository that a model source names on the Hub; None for paths.

    >>> hub_name_of("facebook/esm2_t6_8M_UR50D@main")
    'facebook/esm2_t6_8M_UR50D'
    """
    if source is None or Path(source).expanduser().exists():
        return None
    name = parse_hub_name(os.fspath(source))
    return None if name is None else name.repo
