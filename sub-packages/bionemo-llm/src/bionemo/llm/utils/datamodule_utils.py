# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Batch sizes, sample counts and argument values that data modules and commands share."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from bionemo.core.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def float_or_int_or_none(value: str | float | None) -> float | int | None:
    """Read a number or nothing from a flag.

    Args:
        value: "None" or None, digits (an int), or anything that ``float`` reads. Numbers are returned as they are.

    Raises:
        ValueError: The text is none of these.
    """
    if value is None or isinstance(value, (int, float)):
        return value
    if value == "None":
        return None
    return int(value) if value.isdigit() else float(value)


def parse_kwargs_to_arglist(kwargs: Mapping[str, Any]) -> list[str]:
    """Write keyword arguments as the flags of a command line: ``{"a_b": 1}`` gives ``["--a-b", "1"]``."""
    return [part for name, value in kwargs.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def infer_global_batch_size(
    micro_batch_size: int,
    num_nodes: int,
    devices: int,
    accumulate_grad_batches: int = 1,
    tensor_model_parallel_size: int = 1,
    pipeline_model_parallel_size: int = 1,
    context_model_parallel_size: int = 1,
) -> int:
    """Samples per optimizer step over all ranks.

    Args:
        micro_batch_size: Samples per data-parallel rank and forward pass.
        num_nodes: Machines.
        devices: GPUs, or CPU processes, on each machine.
        accumulate_grad_batches: Forward passes per optimizer step.
        tensor_model_parallel_size: Ranks that share each layer.
        pipeline_model_parallel_size: Ranks that hold consecutive layers.
        context_model_parallel_size: Ranks that share each sequence.

    Returns:
        micro batch x data-parallel ranks x accumulation.

    Raises:
        ConfigError: An argument is no int or not above 0, or the ranks do not divide by the three parallel sizes; it
            is also a ``ValueError``.
    """
    sizes = dict(locals())
    if wrong := {name: value for name, value in sizes.items() if not isinstance(value, int)}:
        raise ConfigError(f"All arguments must be of type int, found {wrong}.")
    for name, value in sizes.items():
        if value <= 0:
            raise ConfigError(f"{name} must be greater than 0, found {value}.")
    world_size = num_nodes * devices
    model_ranks = tensor_model_parallel_size * pipeline_model_parallel_size * context_model_parallel_size
    if world_size % model_ranks:
        raise ConfigError(
            f"world_size must be divisible by tensor x pipeline x context model parallel size {model_ranks}, "
            f"found {num_nodes} nodes x {devices} devices = {world_size} ranks."
        )
    return micro_batch_size * (world_size // model_ranks) * accumulate_grad_batches


def infer_num_samples(
    limit_batches: float | int | None, num_samples_in_dataset: int, global_batch_size: int, stage: str
) -> int:
    """Samples that a limit on the batches of one stage leaves.

    Args:
        limit_batches: A share of the dataset (float above 0, at most 1), a number of global batches (1 or more), or
            None for the whole dataset.
        num_samples_in_dataset: Samples there are.
        global_batch_size: Samples per step over all ranks.
        stage: "train", "val", "test" or "predict", for messages.

    Raises:
        ConfigError: The limit is none of these, or its share is smaller than one global batch; it is also a
            ``ValueError``.
    """
    if limit_batches is None:
        limit_batches = 1.0
    if isinstance(limit_batches, float) and 0.0 < limit_batches <= 1.0:
        num_samples = int(num_samples_in_dataset * limit_batches)
        if num_samples < global_batch_size:
            raise ConfigError(
                f"The limited number of {stage} samples {num_samples} is less than the global batch size "
                f"{global_batch_size}. Raise limit_{stage}_batches or use smaller batches."
            )
        return num_samples
    if limit_batches >= 1:
        return int(limit_batches * global_batch_size)
    raise ConfigError(
        f"Invalid choice of limit_{stage}_batches size: {limit_batches}, expected a share above 0 and at most 1, "
        "a number of batches from 1, or None."
    )


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256 of a tensor's values as contiguous bytes on the CPU, 64 hexadecimal digits."""
    import torch

    values = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(values.view(torch.uint8).numpy().data).hexdigest()


def tensor_dict_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the values of all tensors in the order of their sorted keys."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(bytes.fromhex(tensor_hash(tensors[key])))
    return digest.hexdigest()
