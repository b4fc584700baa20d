# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import time

import pytest

from bionemo.scdl.util.async_worker_queue import AsyncWorkQueue


def wait_then(value, seconds):
    time.sleep(seconds)
    if value == "fail":
        raise ValueError("wanted")
    return value


def test_results_come_in_the_order_of_submission_and_errors_as_elements():
    queue = AsyncWorkQueue(max_workers=3)
    queue.submit_task(wait_then, "slow", 0.1)
    queue.submit_task(wait_then, "fail", 0)
    last = queue.submit_task(wait_then, value="fast", seconds=0)
    assert last.result() == "fast"
    first, error, third = queue.wait()
    assert (first, third) == ("slow", "fast")
    assert isinstance(error, ValueError)
    assert queue.get_task_results()[2] == "fast"
    assert len(queue.get_completed_tasks()) == 3
    assert queue.get_pending_tasks() == []
    queue.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        queue.submit_task(wait_then, 1, 0)


def test_processes():
    queue = AsyncWorkQueue(max_workers=1, use_processes=True)
    queue.submit_task(int, "7")
    assert queue.wait() == [7]
    queue.shutdown()
