# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Loaders of packs: every sequence once a pass, dealt to ranks, from any position."""

import importlib
import itertools
import os
import signal

import numpy as np
import pytest
from numpy.typing import NDArray

from bionemo.core.data.size_aware_batching import PlanPosition
from bionemo.core.errors import ConfigError
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader
from bionemo.llm.data.packed_dataset import PackedDataset, Samples


class Numbers(PackedDataset):
    """Record n is n + 1 times the token n."""

    def __init__(self, num_records: int) -> None:
        super().__init__(num_records, subset=None, max_seq_length=20, max_tokens=60, pad_token_id=0, masking=None)

    def record_lengths(self, epoch: int, records: NDArray[np.int64]) -> NDArray[np.int64]:
        return records + 1

    def read_records(self, epoch: int, records: NDArray[np.int64]) -> Samples:
        return Samples(np.repeat(records, records + 1), records + 1, records)


def records_of(batches) -> list[int]:
    return [int(record) for batch in batches for record in batch["sample_idx"] if record >= 0]


def test_one_pass_in_order_holds_every_record_once() -> None:
    batches = list(build_pack_loader(Numbers(20), PackLoading(tokens_per_batch=60, seed=1), epochs=1))
    assert sorted(records_of(batches)) == list(range(20))
    assert all(batch["input_ids"].shape == (60,) for batch in batches)


def test_packs_of_a_number_of_sequences() -> None:
    loader = build_pack_loader(Numbers(12), PackLoading(tokens_per_batch=None, sequences_per_batch=3, seed=1))
    assert [batch["num_sequences"] for batch in itertools.islice(loader, 4)] == [3, 3, 3, 3]


def test_ranks_share_the_plan_and_a_position_goes_on_in_it() -> None:
    alone = build_pack_loader(Numbers(20), PackLoading(tokens_per_batch=60, seed=1))
    expected = list(itertools.islice(alone, 6))
    for rank in (0, 1):
        loading = PackLoading(tokens_per_batch=60, seed=1, rank=rank, world_size=2)
        found = list(itertools.islice(build_pack_loader(Numbers(20), loading), 3))
        assert records_of(found) == records_of(expected[rank::2])
    rest = build_pack_loader(
        Numbers(20), PackLoading(tokens_per_batch=60, seed=1), position=PlanPosition(*expected[1]["next_position"])
    )
    assert records_of(itertools.islice(rest, 4)) == records_of(expected[2:])


def test_a_pack_without_a_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="a pack needs a size"):
        PackLoading(tokens_per_batch=None, seed=1)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finds_no_moment_in_which_it_ends_a_worker(
    signum: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    handling = importlib.import_module("torch.utils.data._utils.signal_handling")
    set_handlers = handling._set_worker_signal_handlers

    def signaled_when_torch_has_set_its_own() -> None:
        set_handlers()
        os.kill(os.getpid(), signum)

    monkeypatch.setattr(handling, "_set_worker_signal_handlers", signaled_when_torch_has_set_its_own)
    loading = PackLoading(tokens_per_batch=60, seed=1, ignore_stop_signals=True)
    loader = build_pack_loader(Numbers(20), loading, epochs=1, num_workers=2)
    assert sorted(records_of(loader)) == list(range(20))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGINT, signal.SIGTERM} == set()
