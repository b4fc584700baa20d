# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""How much GPU memory a computation needs for each sample of a dataset."""

import gc
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch

from bionemo.core.errors import ConfigError


__all__ = ("collect_cuda_peak_alloc",)

Data = TypeVar("Data")
Feature = TypeVar("Feature")


def collect_cuda_peak_alloc(
    dataset: Iterable[Data],
    work: Callable[[Data], Feature],
    device: torch.device,
    cleanup: Callable[[], Any] | None = None,
) -> tuple[list[Feature], list[int]]:
    """Run the work on each sample and record the peak of allocated GPU memory, to fit a model of it.

    Args:
        dataset: The samples.
        work: Does what is to be measured, and returns what describes the sample (its length, say).
        device: The CUDA device on which the work allocates.
        cleanup: Called after each sample, for example to drop gradients.

    Returns:
        What ``work`` returned and the peak in bytes, for each sample that did not run out of memory.

    Raises:
        ValueError: The device is no CUDA device.
    """
    if device.type != "cuda":
        raise ConfigError("This function is intended for CUDA devices only.")
    features: list[Feature] = []
    peaks: list[int] = []
    for data in dataset:
        try:
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            feature = work(data)
            torch.cuda.synchronize(device)
            peaks.append(torch.cuda.max_memory_allocated(device))
            features.append(feature)
        except torch.cuda.OutOfMemoryError:
            pass  # the sample is left out; what it allocated is freed below
        finally:
            if cleanup is not None:
                cleanup()
            gc.collect()
            torch.cuda.empty_cache()
    return features, peaks
