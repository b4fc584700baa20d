# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Megatron's parallel state for the length of a ``with`` block: a real one-process group, or a pretended large one.

After each context, also one left by an exception, there is no process group, Megatron's globals are unset and the
environment and random generators are as before. Needs megatron-core, which is imported inside.
"""

import contextlib
import os
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from bionemo.testing.network_ports import free_port


_ADDRESS = "127.0.0.1"
_NCCL_TIMEOUT_S = "30"


def find_free_network_port(address: str = "localhost") -> tuple[str, int]:
    """Return a TCP port that nobody listens on, see :func:`~bionemo.testing.network_ports.free_port`.

    Returns:
        The address and the port.
    """
    return address, free_port(address)


def clean_up_distributed_and_parallel_states(verify_distributed_state: bool = False) -> None:
    """Take down Megatron's groups and globals, then torch's process group; nothing happens where there are none.

    Args:
        verify_distributed_state: Also check that nothing is left.

    Raises:
        RuntimeError: Something is left.
    """
    import torch

    parallel_state = sys.modules.get("megatron.core.parallel_state")
    if parallel_state is not None:
        from megatron.core.num_microbatches_calculator import destroy_num_microbatches_calculator

        destroy_num_microbatches_calculator()
        parallel_state.destroy_model_parallel()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if verify_distributed_state:
        if parallel_state is not None and parallel_state.is_initialized():
            raise RuntimeError("Megatron's parallel state is still initialized after cleaning up.")
        if torch.distributed.is_initialized():
            raise RuntimeError("torch.distributed is still initialized after cleaning up.")


@contextlib.contextmanager
def clean_parallel_state_context() -> Iterator[None]:
    """Start without any process group or parallel state, and leave none."""
    clean_up_distributed_and_parallel_states()
    try:
        yield
    finally:
        clean_up_distributed_and_parallel_states()


@contextlib.contextmanager
def distributed_model_parallel_state(
    seed: int = 42,
    rank: int = 0,
    world_size: int = 1,
    backend: str = "nccl",
    **initialize_model_parallel_kwargs: Any,
) -> Iterator[None]:
    """Initialize torch.distributed and Megatron's groups for real, and seed Megatron's generators.

    Args:
        seed: For Python's, NumPy's, torch's and, on a GPU, Megatron's tracked generators.
        rank: This process.
        world_size: All processes; each of them enters its own context. More than one needs MASTER_PORT in the
            environment, the same for all.
        backend: gloo is taken where there is no CUDA.
        initialize_model_parallel_kwargs: For ``megatron.core.parallel_state.initialize_model_parallel``.
    """
    import torch

    with _surroundings_restored(), clean_parallel_state_context():
        from megatron.core import parallel_state

        os.environ.setdefault("MASTER_ADDR", _ADDRESS)
        if "MASTER_PORT" not in os.environ:
            os.environ["MASTER_PORT"] = str(find_free_network_port(os.environ["MASTER_ADDR"])[1])
        os.environ.setdefault("NCCL_TIMEOUT", _NCCL_TIMEOUT_S)
        os.environ["RANK"] = str(rank)
        has_cuda = torch.cuda.is_available()
        alone = torch.distributed.HashStore() if world_size == 1 else None  # type: ignore[attr-defined]  # needs no port
        torch.distributed.init_process_group(
            backend if has_cuda else "gloo", store=alone, rank=rank, world_size=world_size
        )
        if has_cuda:
            torch.cuda.set_device(rank % torch.cuda.device_count())
        parallel_state.initialize_model_parallel(**initialize_model_parallel_kwargs)
        _seed_everything(seed)
        yield


@contextlib.contextmanager
def mock_distributed_parallel_state(
    world_size: int = 8,
    rank: int = 0,
    tensor_model_parallel_size: int = 1,
    pipeline_model_parallel_size: int = 1,
    virtual_pipeline_model_parallel_size: int | None = None,
    context_parallel_size: int = 1,
    expert_model_parallel_size: int = 1,
    seed: int | None = 42,
) -> Iterator[None]:
    """Pretend to be one rank of a large job: Megatron's ranks and sizes answer as there, collectives do nothing.

    Args:
        world_size: Ranks of the pretended job.
        rank: Which of them this process is.
        tensor_model_parallel_size: See ``initialize_model_parallel``, as for the following sizes.
        pipeline_model_parallel_size: Pipeline stages.
        virtual_pipeline_model_parallel_size: Chunks of each stage.
        context_parallel_size: Ranks that share a sequence.
        expert_model_parallel_size: Ranks that share the experts.
        seed: For all generators; None keeps them as they are.

    Raises:
        ValueError: ``seed`` is None and Megatron's generators were never seeded.
    """
    import torch
    from torch.testing._internal.distributed.fake_pg import FakeStore  # registers the backend "fake"

    with _surroundings_restored(), clean_parallel_state_context():
        from megatron.core import parallel_state
        from megatron.core.tensor_parallel.random import get_cuda_rng_tracker

        if seed is None and not get_cuda_rng_tracker().get_states():
            raise ValueError(
                "You must provide a seed if the initial parallel state is unset. "
                "Megatron's generators hold no state yet; pass seed=42, for example."
            )
        torch.distributed.init_process_group("fake", rank=rank, world_size=world_size, store=FakeStore())
        parallel_state.initialize_model_parallel(
            tensor_model_parallel_size=tensor_model_parallel_size,
            pipeline_model_parallel_size=pipeline_model_parallel_size,
            virtual_pipeline_model_parallel_size=virtual_pipeline_model_parallel_size,
            context_parallel_size=context_parallel_size,
            expert_model_parallel_size=expert_model_parallel_size,
            create_gloo_process_groups=False,  # gloo would want the other ranks
        )
        if seed is not None:
            _seed_everything(seed)
        yield


def _seed_everything(seed: int) -> None:
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 what runs inside may use the global generator
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed

        model_parallel_cuda_manual_seed(seed)


@contextlib.contextmanager
def _surroundings_restored() -> Iterator[None]:
    """Put environment and generators, Megatron's tracked ones too, back to what they were."""
    import torch
    from megatron.core.tensor_parallel.random import get_cuda_rng_tracker

    environ = dict(os.environ)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 the global one
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    tracker = get_cuda_rng_tracker()
    tracked, seeds, initialized = tracker.get_states(), set(tracker.seeds_), tracker.is_initialized()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environ)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 the global one
        torch.set_rng_state(states[2])
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
        tracker.set_states(tracked)
        tracker.seeds_, tracker._is_initialized = seeds, initialized
