# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Builds Lightning's trainer from plain settings: devices, precision, steps."""

from typing import Any

import lightning.pytorch as pl
import torch

from bionemo.core.errors import ConfigError, ParallelismError
from bionemo.core.ranks import started_ranks
from bionemo.llm.training.third_party_warnings import silence_third_parties


PRECISIONS = {
    "fp32": "32-true",
    "32": "32-true",
    "fp32-mixed": "32-true",
    "bf16": "bf16-true",
    "bf16-mixed": "bf16-mixed",
    "fp16": "16-true",
    "16": "16-mixed",
    "16-mixed": "16-mixed",
    "fp16-mixed": "16-mixed",
}
"""BioNeMo 2 compatible names and Lightning's; "auto" is bf16-mixed on a GPU and fp32 on a CPU."""


def resolve_accelerator(accelerator: str) -> str:
    """Turn "auto" into "gpu" or "cpu".

    Raises:
        ConfigError: A GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if accelerator == "auto":
        return "gpu" if has_gpu else "cpu"
    if accelerator == "gpu" and not has_gpu:
        raise ConfigError("--accelerator gpu: this machine shows no GPU to torch. Use --accelerator cpu.")
    return accelerator


def process_device(accelerator: str) -> torch.device:
    """Return where this process computes: its own GPU, or the CPU.

    Args:
        accelerator: "gpu" or "cpu".
    """
    return torch.device("cuda", torch.cuda.current_device()) if accelerator == "gpu" else torch.device("cpu")


def resolve_precision(precision: str, accelerator: str) -> str:
    """Return Lightning's name of a precision.

    Raises:
        ConfigError: Half precision without a GPU in a form that a CPU cannot train.
    """
    if precision == "auto":
        return "bf16-mixed" if accelerator == "gpu" else "32-true"
    name = PRECISIONS[precision]
    if accelerator == "cpu" and name.startswith("16"):
        raise ConfigError(f"--precision {precision}: float16 does not train on a CPU. Use fp32 or bf16-mixed.")
    return name


def check_ranks(devices: int, num_nodes: int) -> None:
    """Refuse settings that say another number of ranks than torchrun or srun has started.

    Else each of them could train by itself, at the same place.

    Raises:
        ParallelismError: The message says both numbers.
    """
    started, described = started_ranks(), devices * num_nodes
    if started not in (None, 1, described):
        raise ParallelismError(
            f"{started} ranks were started, but --devices {devices} x --num-nodes {num_nodes} makes {described}. "
            "Give the numbers that torchrun or srun was given."
        )


def check_gpus(accelerator: str, devices: int) -> None:
    """Refuse more ranks than there are GPUs for them on this machine.

    Raises:
        ParallelismError: The message says both numbers.
    """
    if accelerator == "gpu" and devices > torch.cuda.device_count():
        raise ParallelismError(
            f"--devices {devices}: this machine shows {torch.cuda.device_count()} GPUs to torch. Give that number, or "
            "more nodes; CUDA_VISIBLE_DEVICES can hide some."
        )


def build_trainer(
    *,
    accelerator: str,
    precision: str | None,
    devices: int,
    num_nodes: int,
    max_steps: int,
    val_check_interval: int,
    limit_val_batches: float | int | None,
    accumulate_grad_batches: int,
    gradient_clip: float,
    callbacks: list[pl.Callback],
    loggers: list[Any],
    strategy: Any = None,
    plugins: list[Any] | None = None,
) -> pl.Trainer:
    """Build a trainer that neither logs, checkpoints nor resumes by itself: the callbacks do.

    Args:
        accelerator: "cpu" or "gpu".
        precision: Lightning's name; None where a plugin says it.
        devices: Processes (CPU) or GPUs of one node.
        num_nodes: Nodes.
        max_steps: Optimizer steps at which the run ends.
        val_check_interval: Optimizer steps between validations.
        limit_val_batches: Lightning's meaning: how many, or which share; None means all.
        accumulate_grad_batches: Micro-batches of one step.
        gradient_clip: Largest 2-norm of the gradient.
        callbacks: Metrics, checkpoints, progress.
        loggers: Further loggers of the metrics.
        strategy: How ranks work together; None: data parallel.
        plugins: Lightning's plugins, among them a precision instead of a name.

    Returns:
        The trainer.

    Raises:
        ParallelismError: See ``check_ranks``.
    """
    check_ranks(devices, num_nodes)
    silence_third_parties()
    ranks = devices * num_nodes
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy or ("ddp" if ranks > 1 else "auto"),
        precision=precision,  # type: ignore[arg-type]  # one of Lightning's literals
        plugins=plugins,
        max_steps=max_steps,
        val_check_interval=val_check_interval * accumulate_grad_batches,
        check_val_every_n_epoch=None,
        limit_val_batches=1.0 if limit_val_batches is None else limit_val_batches,
        accumulate_grad_batches=accumulate_grad_batches,
        gradient_clip_val=gradient_clip,
        callbacks=callbacks,
        logger=loggers or False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        inference_mode=False,  # compiled layers do not take every inference tensor; no_grad serves as well
    )
    # Lightning's handler of SIGTERM would end the run without a checkpoint; see bionemo.llm.training.stop_requests.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def continue_from(trainer: pl.Trainer, step: int, accumulate_grad_batches: int) -> None:
    """Set a fresh trainer's counters to the steps that an earlier run did, so that intervals and the end are kept."""
    epoch_loop = trainer.fit_loop.epoch_loop
    batches: Any = epoch_loop.batch_progress.total
    batches.ready = batches.started = batches.processed = batches.completed = step * accumulate_grad_batches
    optimizer_steps = epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
    optimizer_steps.ready = optimizer_steps.completed = step
    epoch_loop._batches_that_stepped = step
