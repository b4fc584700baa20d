# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Inside the stand-in "cuda" is the CPU, in every spelling; outside nothing has changed."""

import pytest
import torch

from bionemo.testing.megatron_on_cpu import megatron_on_cpu


pytestmark = [
    pytest.mark.nemo_env,
    pytest.mark.skipif(torch.cuda.is_available(), reason="the stand-in is for machines without a GPU"),
]


def test_tensors_are_made_and_moved_on_the_cpu() -> None:
    with megatron_on_cpu():
        made = [
            torch.zeros(2, device="cuda"),
            torch.empty(2, device=torch.cuda.current_device()),
            torch.ones(2, device=torch.device("cuda", 0)),
            torch.ones(2).cuda(),
            torch.ones(2).to("cuda:0", non_blocking=True),
            torch.tensor([1.0, 2.0], pin_memory=True).to(device="cuda"),
            torch.nn.Linear(1, 2).cuda().weight,
        ]
    assert {tensor.device.type for tensor in made} == {"cpu"}


def test_types_carry_the_names_that_megatron_compares_with() -> None:
    with megatron_on_cpu():
        assert torch.zeros(1).type() == "torch.cuda.FloatTensor"
        assert torch.zeros(1, dtype=torch.bfloat16).type() == "torch.cuda.BFloat16Tensor"
        assert torch.zeros(1).type(torch.float64).dtype == torch.float64
    assert torch.zeros(1).type() == "torch.FloatTensor"


def test_streams_and_trackers_without_a_state_do_nothing() -> None:
    from megatron.core.tensor_parallel import get_cuda_rng_tracker

    with megatron_on_cpu():
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
        torch.cuda.synchronize()
        with get_cuda_rng_tracker().fork():
            pass


def test_tracked_states_are_drawn_from_in_turn() -> None:
    from megatron.core.tensor_parallel.random import CudaRNGStatesTracker

    with megatron_on_cpu():
        tracker = CudaRNGStatesTracker()
        tracker.add("own", 5)
        torch.manual_seed(3)
        with tracker.fork("own"):
            first = torch.rand(2)
        outside = torch.rand(2)
        with tracker.fork("own"):
            second = torch.rand(2)
    assert torch.equal(torch.cat((first, second)), torch.rand(4, generator=torch.Generator().manual_seed(5)))
    assert torch.equal(outside, torch.rand(2, generator=torch.Generator().manual_seed(3)))


def test_afterwards_cuda_is_missing_again() -> None:
    with pytest.raises(ZeroDivisionError), megatron_on_cpu():
        raise ZeroDivisionError
    with pytest.raises((RuntimeError, AssertionError)):
        torch.zeros(1, device="cuda")
    with pytest.raises((RuntimeError, AssertionError)):
        torch.cuda.current_device()
