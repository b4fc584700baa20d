# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Ranks meet, or it is said which one is missing or was started otherwise."""

import os
import socket
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch.distributed import TCPStore

from bionemo.core.errors import ParallelismError
from bionemo.llm.training.ranks.rendezvous import meet
from bionemo.llm.training.ranks.restarts import leave_job, restarts_run
from bionemo.llm.training.run_directory import RunDirectory
from bionemo.testing.megatron_parallel_state_utils import find_free_network_port
from bionemo.testing.multiprocess import run_on_ranks


pytestmark = pytest.mark.nemo_env


def environment() -> SimpleNamespace:
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return SimpleNamespace(
        main_address=os.environ["MASTER_ADDR"],
        main_port=int(os.environ["MASTER_PORT"]),
        global_rank=lambda: rank,
        world_size=lambda: world_size,
    )


def meet_and_talk() -> str:
    own = environment()
    store = meet(own, settings={"lr": 0.1, "sizes": [1, 2]}, timeout=timedelta(seconds=20))
    store.set(f"word/{own.global_rank()}", f"from {own.global_rank()}")
    heard = store.get(f"word/{1 - own.global_rank()}").decode()
    if own.global_rank() == 1:
        store.set("heard", "")
    else:
        store.get("heard")  # the store lives here
    return heard


def meet_with_settings_of_my_own() -> str:
    settings = {"lr": 0.1 * (1 + environment().global_rank()), "seed": 42}
    with pytest.raises(ParallelismError) as caught:
        meet(environment(), settings=settings, timeout=timedelta(seconds=20))
    return str(caught.value)


def meet_unless_rank_one() -> str:
    if environment().global_rank() == 1:
        return ""
    with pytest.raises(ParallelismError) as caught:
        meet(environment(), settings={}, timeout=timedelta(seconds=1))
    return str(caught.value)


def two_attempts(run: RunDirectory) -> list[str]:
    """As torchrun restarts the ranks of two nodes: its store stays, and each node has its own count of restarts."""
    own = environment()
    rank = own.global_rank()
    agent = TCPStore(own.main_address, own.main_port, is_master=rank == 0, wait_for_workers=False)
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    heard = []
    for attempt in range(2):
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(attempt * rank)
        resumes = restarts_run(run)
        time.sleep(0.5 * rank)  # what rank 1 has left before must not be taken for it
        store = meet(own, settings={"resumes": resumes}, timeout=timedelta(seconds=20))
        store.set(f"word/{rank}", f"of rank {rank}, attempt {attempt}, resumes {resumes}")
        heard.append(store.get(f"word/{1 - rank}").decode())
        if rank == 0:
            leave_job(run)
            store.set("begun", "")
        store.get("begun")
    if rank == 1:
        agent.set("end", "")
    else:
        agent.get("end")  # the store lives here
    return heard


def test_ranks_that_are_restarted_meet_anew_and_resume_what_their_job_began(tmp_path: Path) -> None:
    for rank, heard in enumerate(run_on_ranks(2, two_attempts, RunDirectory(tmp_path), process_group=False)):
        assert heard == [
            f"of rank {1 - rank}, attempt {n}, resumes {resumes}" for n, resumes in enumerate((False, True))
        ]
    assert not restarts_run(RunDirectory(tmp_path))  # nor does a process outside of torchrun


def test_ranks_meet_and_the_store_carries_on() -> None:
    assert run_on_ranks(2, meet_and_talk, process_group=False) == ["from 1", "from 0"]


def test_other_settings_are_named_on_every_rank() -> None:
    for message in run_on_ranks(3, meet_with_settings_of_my_own, process_group=False):
        assert message.startswith("rank 1 was started with lr = 0.2, rank 0 with 0.1.")


def test_missing_ranks_are_named() -> None:
    messages = run_on_ranks(3, meet_unless_rank_one, process_group=False)
    assert messages[0].startswith("1 of 3 ranks did not start within 1 s: rank 1.")


def test_a_first_rank_that_is_not_there_is_named() -> None:
    address, port = find_free_network_port("127.0.0.1")
    lonely = SimpleNamespace(main_address=address, main_port=port, global_rank=lambda: 1, world_size=lambda: 2)
    with pytest.raises(ParallelismError, match=rf"rank 1 of 2: rank 0 at 127\.0\.0\.1:{port} cannot be reached"):
        meet(lonely, settings={}, timeout=timedelta(seconds=1))


def test_one_process_alone_needs_no_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        alone = SimpleNamespace(main_address="127.0.0.1", main_port=port, global_rank=lambda: 0, world_size=lambda: 1)
        store = meet(alone, settings={}, timeout=timedelta(seconds=1))
    store.set("word", "kept")
    assert store.get("word") == b"kept"
