# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import os
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist

from bionemo.testing.megatron_parallel_state_utils import (
    clean_parallel_state_context,
    clean_up_distributed_and_parallel_states,
    distributed_model_parallel_state,
    find_free_network_port,
    mock_distributed_parallel_state,
)


parallel_state = pytest.importorskip("megatron.core.parallel_state")


def environment():
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Whatever a test does, the surroundings must be the same after it."""
    environ, torch_state, numpy_state = environment(), torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    yield
    assert not dist.is_initialized()
    assert not parallel_state.is_initialized()
    assert environment() == environ
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002


def test_a_real_group_of_one():
    with distributed_model_parallel_state(seed=7):
        assert (dist.get_rank(), dist.get_world_size()) == (0, 1)
        assert parallel_state.get_tensor_model_parallel_world_size() == 1
        assert torch.initial_seed() == 7
        assert os.environ["RANK"] == "0"
        assert {"MASTER_ADDR", "MASTER_PORT", "NCCL_TIMEOUT"} <= os.environ.keys()
        total = torch.ones(2)
        dist.all_reduce(total, group=parallel_state.get_data_parallel_group())
        assert total.tolist() == [1, 1]
        first = torch.rand(1)
    with distributed_model_parallel_state(seed=7):
        assert torch.rand(1) == first


def test_variables_that_are_set_stay(monkeypatch):
    _, port = find_free_network_port()
    monkeypatch.setenv("MASTER_PORT", str(port))
    monkeypatch.setenv("RANK", "9")
    with distributed_model_parallel_state():
        assert (os.environ["MASTER_PORT"], os.environ["RANK"]) == (str(port), "0")
    assert os.environ["RANK"] == "9"


class OwnError(Exception):
    pass


@pytest.mark.parametrize("context", [distributed_model_parallel_state, mock_distributed_parallel_state])
def test_an_exception_keeps_its_type_and_all_is_taken_down(context):
    with pytest.raises(OwnError, match="inside"), context():
        raise OwnError("inside")


@pytest.mark.parametrize(
    ("rank", "tensor", "pipeline", "data"), [(0, 0, 0, 0), (1, 1, 0, 0), (3, 1, 0, 1), (4, 0, 1, 0), (7, 1, 1, 1)]
)
def test_a_pretended_rank_knows_its_place(rank, tensor, pipeline, data):
    with mock_distributed_parallel_state(
        world_size=8, rank=rank, tensor_model_parallel_size=2, pipeline_model_parallel_size=2
    ):
        assert dist.get_rank() == rank
        assert parallel_state.get_tensor_model_parallel_rank() == tensor
        assert parallel_state.get_pipeline_model_parallel_rank() == pipeline
        assert parallel_state.get_data_parallel_rank() == data
        assert parallel_state.is_pipeline_last_stage() == (pipeline == 1)
        total = torch.ones(3)
        dist.all_reduce(total, group=parallel_state.get_tensor_model_parallel_group())  # would wait for the others
        dist.barrier()


def test_context_parallel_and_virtual_stages():
    sizes = {"pipeline_model_parallel_size": 2, "virtual_pipeline_model_parallel_size": 2, "context_parallel_size": 2}
    with mock_distributed_parallel_state(world_size=4, rank=1, **sizes):
        assert parallel_state.get_context_parallel_rank() == 1
        assert parallel_state.get_virtual_pipeline_model_parallel_world_size() == 2


def test_no_seed_needs_seeded_generators():
    with (
        pytest.raises(ValueError, match="You must provide a seed if the initial parallel state is unset"),
        mock_distributed_parallel_state(seed=None),
    ):
        pass


def test_cleaning_up_takes_down_what_others_left():
    address, port = find_free_network_port("127.0.0.1")
    dist.init_process_group("gloo", init_method=f"tcp://{address}:{port}", rank=0, world_size=1)
    parallel_state.initialize_model_parallel()
    with clean_parallel_state_context():
        assert not dist.is_initialized()
        assert not parallel_state.is_initialized()
    clean_up_distributed_and_parallel_states(verify_distributed_state=True)


def test_a_free_port_can_be_bound():
    address, port = find_free_network_port()
    assert address == "localhost"
    with socket.socket() as probe:
        probe.bind((address, port))
