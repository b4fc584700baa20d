# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bionemo.core.errors import ConfigError, ParallelismError
from bionemo.testing.multiprocess import RanksFailedError, RanksTimedOutError, run_on_ranks


class Named:
    """A class of this test module, to cross the process border both ways."""

    def __init__(self, value):
        self.value = value


def gather_ranks():
    import torch.distributed as dist

    ranks = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, (dist.get_rank(), os.getpid()))
    return ranks


def environment():
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "OF_THE_TEST")
    return [os.environ.get(name) for name in names], str(Path.cwd())


def add_rank(named, array):
    import torch.distributed as dist

    return Named(named.value + dist.get_rank()), array * 2


def join_group_of_its_own():
    import torch
    import torch.distributed as dist

    assert not dist.is_initialized()
    dist.init_process_group("gloo", init_method="env://")
    total = torch.tensor([dist.get_rank() + 1])
    dist.all_reduce(total)
    os.environ["LEFT_BY_A_CALL"] = "1"
    return total


def fail_on_rank_one():
    import torch.distributed as dist

    if dist.get_rank() == 1:
        print("rank one was here", file=sys.stderr)
        raise DataLostError("nothing left to read")
    dist.barrier()


class DataLostError(Exception):
    pass


def hang_on_rank_one():
    import torch.distributed as dist

    if dist.get_rank() == 1:
        nap_forever()
    return "done"


def put_back_default_signal_handlers():
    """What Lightning's trainer does at its end."""
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def nap_forever():
    time.sleep(600)


def die_on_rank_one():
    import torch.distributed as dist

    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


class Cycle:
    """An object that only the garbage collector frees, as models and trainers are."""

    def __init__(self, held):
        self.held, self.itself = held, self


def keep_a_group_in_a_cycle():
    import torch.distributed as dist

    Cycle(dist.new_group([0, 1]))
    return len(list(Path("/proc/self/task").iterdir()))


def return_a_generator():
    return (number for number in range(3))


def test_results_come_by_rank_and_processes_stay_warm():
    first = run_on_ranks(3, gather_ranks)
    assert [rank for rank, _ in first[0]] == [0, 1, 2]
    assert first[0] == first[1] == first[2]
    assert len({pid for _, pid in first[0]} | {os.getpid()}) == 4
    assert run_on_ranks(2, gather_ranks)[0] == first[0][:2]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in Linux's /proc")
def test_threads_of_a_calls_groups_end_with_it():
    counts = [run_on_ranks(2, keep_a_group_in_a_cycle)[0] for _ in range(3)]
    assert counts[2] <= counts[0]


def test_environment_and_working_folder_are_the_callers(monkeypatch, tmp_path):
    monkeypatch.setenv("OF_THE_TEST", "yes")
    monkeypatch.chdir(tmp_path)
    answers = run_on_ranks(2, environment)
    assert [answer[0] for answer in answers] == [[str(r), str(r), "2", "2", "127.0.0.1", "yes"] for r in range(2)]
    assert answers[0][1] == str(tmp_path)
    monkeypatch.delenv("OF_THE_TEST")
    assert run_on_ranks(1, environment)[0][0][-1] is None


def test_arguments_and_results_of_the_test_modules_own_classes():
    results = run_on_ranks(2, add_rank, Named(5), np.arange(3))
    assert [named.value for named, _ in results] == [5, 6]
    assert isinstance(results[0][0], Named)
    np.testing.assert_array_equal(results[1][1], [0, 2, 4])


def test_without_a_process_group_the_function_can_make_its_own():
    assert [int(total) for total in run_on_ranks(2, join_group_of_its_own, process_group=False)] == [3, 3]
    assert run_on_ranks(1, os.getenv, "LEFT_BY_A_CALL") == [None]


def test_every_ranks_traceback_and_output_are_shown():
    pids = run_on_ranks(2, gather_ranks)[0]
    start = time.monotonic()
    with pytest.raises(RanksFailedError) as caught:
        run_on_ranks(2, fail_on_rank_one)
    assert time.monotonic() - start < 5  # rank 0 is freed at once, not by the time-out
    text = str(caught.value)
    assert "DataLostError: nothing left to read" in text
    assert "rank one was here" in text
    assert text.count("Traceback (most recent call last)") == 2  # rank 0's barrier broke too
    assert "in fail_on_rank_one" in text
    assert run_on_ranks(2, gather_ranks)[0] == pids  # nothing died, so the pool is the same


def test_time_out_shows_the_stack_of_the_hanging_rank_and_the_pool_recovers():
    pids = {pid for _, pid in run_on_ranks(2, gather_ranks)[0]}
    run_on_ranks(2, put_back_default_signal_handlers)
    with pytest.raises(TimeoutError) as caught:
        run_on_ranks(2, hang_on_rank_one, timeout_s=8)  # time enough for rank 0 on a busy machine
    assert isinstance(caught.value, RanksTimedOutError)
    assert "failed on rank(s) 1 of 2" in str(caught.value)
    assert "in nap_forever" in str(caught.value)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert pids.isdisjoint(pid for _, pid in run_on_ranks(2, gather_ranks)[0])


def test_a_dead_rank_is_named_and_the_pool_recovers():
    with pytest.raises(RanksFailedError, match=r"failed on rank\(s\) 0, 1 of 2") as caught:
        run_on_ranks(2, die_on_rank_one)
    assert "died without a word" in str(caught.value)
    assert len(run_on_ranks(4, gather_ranks)) == 4


def test_what_cannot_cross_the_process_border_is_said():
    with pytest.raises(RanksFailedError, match="generator"):
        run_on_ranks(1, return_a_generator)
    with pytest.raises(ConfigError, match="top level"):
        run_on_ranks(1, lambda: None)
    with pytest.raises(ParallelismError, match="5 ranks asked for, expected 1 to 4"):
        run_on_ranks(5, gather_ranks)


def test_no_orphans_after_the_whole_test_process_group_is_killed(tmp_path):
    script = tmp_path / "caller.py"
    script.write_text(
        "import os, time\nfrom pathlib import Path\nfrom bionemo.testing.multiprocess import run_on_ranks\n\n"
        "def hang(folder):\n    Path(folder, f'pid{os.getpid()}').touch()\n    time.sleep(600)\n\n"
        f"if __name__ == '__main__':\n    run_on_ranks(2, hang, {str(tmp_path)!r}, process_group=False)\n"
    )
    caller = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    try:
        wait_until(lambda: len(list(tmp_path.glob("pid*"))) == 2 or caller.poll() is not None, timeout_s=60)
        assert caller.poll() is None
    finally:
        os.killpg(caller.pid, signal.SIGKILL)
        caller.wait()
    pids = [path.name.removeprefix("pid") for path in tmp_path.glob("pid*")]
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in pids), timeout_s=10)


def test_an_unguarded_script_is_stopped_before_it_starts_processes_without_end(tmp_path):
    script = tmp_path / "caller.py"
    script.write_text(
        "from bionemo.testing.multiprocess import run_on_ranks\n\n"
        "def answer():\n    return 42\n\nrun_on_ranks(1, answer, process_group=False)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "is a script's main part unguarded?" in done.stderr


def wait_until(condition, timeout_s):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
