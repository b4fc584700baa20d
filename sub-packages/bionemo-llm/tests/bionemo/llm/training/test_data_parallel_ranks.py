# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import os

import pytest
import torch

from bionemo.core.errors import ParallelismError
from bionemo.llm.training.data_parallel_ranks import start_ranks
from bionemo.testing.multiprocess import run_on_ranks


def test_one_rank_needs_no_process_group() -> None:
    ranks = start_ranks("cpu", 1, 1)
    assert (ranks.rank, ranks.world_size, ranks.device) == (0, 1, torch.device("cpu"))
    assert ranks.gather("mine") == ["mine"]
    ranks.barrier()
    assert not torch.distributed.is_initialized()


def test_more_gpus_than_there_are_is_refused() -> None:
    with pytest.raises(ParallelismError, match=r"--devices 99: this machine shows \d+ GPUs"):
        start_ranks("gpu", 99, 1)


def gather_on_rank() -> tuple[int, list[str]]:
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    ranks = start_ranks("cpu", 2, 1)
    try:
        ranks.barrier()
        return ranks.rank, ranks.gather(f"of rank {ranks.rank}")
    finally:
        torch.distributed.destroy_process_group()


def test_ranks_gather_in_their_order() -> None:
    both = ["of rank 0", "of rank 1"]
    assert run_on_ranks(2, gather_on_rank, process_group=False) == [(0, both), (1, both)]
