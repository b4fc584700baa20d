# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for CUDA, so that Megatron-core and NeMo run on a CPU and their parallelism is tested on every machine.

Both name ``"cuda"`` in many places. Inside :func:`megatron_on_cpu` that word means the CPU: tensors are made and moved
there, streams and events do nothing, and a CPU tensor's type carries the name that Megatron compares with. Random
states that Megatron tracks are the CPU generator's. Production code is never changed. Collectives run on gloo.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode


_CPU = torch.device("cpu")


@contextlib.contextmanager
def megatron_on_cpu() -> Iterator[None]:
    """Make ``"cuda"`` mean the CPU for the length of the block. Needs megatron-core, and a machine without a GPU."""
    from megatron.core.tensor_parallel.random import CudaRNGStatesTracker

    inert = {
        name: (lambda *args, **kwargs: None)
        for name in ("synchronize", "empty_cache", "set_device", "manual_seed", "manual_seed_all")
    }
    with contextlib.ExitStack() as stack:
        for name, does_nothing in inert.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, does_nothing))
        for name in ("current_stream", "default_stream", "Stream", "Event"):
            stack.enter_context(mock.patch.object(torch.cuda, name, InertStream))
        nothing = contextlib.nullcontext()
        stack.enter_context(mock.patch.object(torch.cuda, "stream", return_value=nothing))
        stack.enter_context(mock.patch.object(torch.cuda, "current_device", return_value=_CPU))
        for name, replacement in (("add", _track_state), ("fork", _with_state)):
            stack.enter_context(mock.patch.object(CudaRNGStatesTracker, name, replacement))
        stack.enter_context(_CudaMeansCpu())
        yield


def _track_state(tracker: Any, name: str, seed: int) -> None:
    """Keep the state of a freshly seeded generator under a name."""
    tracker.states_[name] = torch.Generator().manual_seed(seed).get_state()


@contextlib.contextmanager
def _with_state(tracker: Any, name: str = "model-parallel-rng") -> Iterator[None]:
    """Draw from a tracked state, and continue from it the next time; one that is not tracked changes nothing."""
    if name not in tracker.states_:
        yield
        return
    before = torch.get_rng_state()
    torch.set_rng_state(tracker.states_[name])
    try:
        yield
    finally:
        tracker.states_[name] = torch.get_rng_state()
        torch.set_rng_state(before)


class InertStream:
    """A CUDA stream or event on a machine that computes everything in order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


class _CudaMeansCpu(TorchFunctionMode):
    """Takes ``"cuda"`` out of the arguments of every torch function."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.type and len(args) == 1 and not kwargs:
            return args[0].type().replace("torch.", "torch.cuda.", 1)
        if func is torch.Tensor.cuda:
            return args[0]
        if func in (torch.Tensor.is_pinned, torch.Tensor.pin_memory):
            return args[0] if func is torch.Tensor.pin_memory else False
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        if "device" in kwargs:
            kwargs["device"] = _on_cpu(kwargs["device"])
        if func is torch.Tensor.to:
            args = (args[0], *map(_on_cpu, args[1:]))
        return func(*args, **kwargs)


def _on_cpu(value: Any) -> Any:
    """The CPU in place of a CUDA device in any spelling."""
    if isinstance(value, torch.device):
        return _CPU if value.type == "cuda" else value
    if isinstance(value, str) and value.partition(":")[0] == "cuda":
        return _CPU
    return value
