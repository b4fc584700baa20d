# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import gzip
import itertools
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from bionemo.core.data.size_aware_batching import Pack, PlanPosition, TokenBudgetBatchSampler
from bionemo.core.errors import CheckpointError, ConfigError, DataError


UNIREF = next(
    (
        p / "shared" / "data" / "uniref90_9k.fasta.gz"
        for p in Path(__file__).resolve().parents
        if (p / "shared").is_dir()
    ),
    Path("shared/data/uniref90_9k.fasta.gz"),
)


def made_up_lengths(num_samples: int, longest: int = 1024) -> np.ndarray:
    """Log-normal, with the median and mean of UniRef90 (277 and 335 residues)."""
    return np.clip(np.random.default_rng(0).lognormal(5.6, 0.65, num_samples).astype(np.int64) + 2, 10, longest)


LENGTHS = made_up_lengths(1000)


def sampler(**changes) -> TokenBudgetBatchSampler:
    return TokenBudgetBatchSampler(**{"lengths": LENGTHS, "max_tokens": 2048, "window_size": 300, **changes})


def first(number: int, **changes) -> list[list[int]]:
    return [pack.idxs.tolist() for pack in itertools.islice(sampler(**changes), number)]


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_epoch_holds_every_sample_once_and_no_pack_exceeds_the_budget(shuffle):
    packs = list(sampler(num_epochs=3, shuffle=shuffle))
    for epoch in range(3):
        idxs = np.concatenate([pack.idxs for pack in packs if pack.epoch == epoch])
        assert sorted(idxs.tolist()) == list(range(1000))
    assert max(LENGTHS[pack.idxs].sum() for pack in packs) <= 2048
    assert packs[0].idxs.dtype == np.int64
    assert packs[-1].next_position == PlanPosition(12, 0)
    assert len(packs) == sampler(num_epochs=3, shuffle=shuffle).num_packs


def test_order_depends_on_seed_and_epoch_alone():
    assert first(50) == first(50)
    assert first(50) != first(50, seed=43)
    epochs = [sampler(window_size=1000).plan_window(epoch) for epoch in range(2)]
    assert [pack.tolist() for pack in epochs[0]] != [pack.tolist() for pack in epochs[1]]


def test_windows_follow_the_permuted_order():
    """A window is planned alone: the plan of window 2 is the same whether or not others were planned before."""
    fresh = [pack.tolist() for pack in sampler().plan_window(2)]
    used = sampler()
    for window in (0, 1, 9, 2):
        plan = used.plan_window(window)
    assert [pack.tolist() for pack in plan] == fresh
    assert sorted(np.concatenate(fresh).tolist()) != list(range(600, 900))
    unshuffled = np.concatenate(sampler(shuffle=False).plan_window(2))
    assert sorted(unshuffled.tolist()) == list(range(600, 900))


GOLDEN_PLAN = [[[10, 8], [11], [6, 4, 3, 1, 0]], [[9, 5, 2], [7]], [[9, 5], [10, 7], [11, 4, 1, 0]], [[3], [8, 6, 2]]]


def test_golden_plan():
    """Made by this code when it was first released; resumed runs depend on it."""
    tiny = TokenBudgetBatchSampler(np.arange(1, 13), 20, seed=7, window_size=8)
    assert [[pack.tolist() for pack in tiny.plan_window(window)] for window in range(4)] == GOLDEN_PLAN


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_ranks_share_the_plan_in_turns(world_size):
    plan = first(60)
    ranks = [first(60 // world_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [pack for step in zip(*ranks, strict=True) for pack in step] == plan


def test_resuming_on_other_numbers_of_ranks_loses_and_repeats_nothing():
    plan, taken, position = first(70), [], PlanPosition(0, 0)
    for world_size, steps in ((1, 5), (4, 3), (2, 7), (3, 9), (1, 12)):
        ranks = [sampler(rank=rank, world_size=world_size, position=position) for rank in range(world_size)]
        streams = [list(itertools.islice(each, steps)) for each in ranks]
        for step in zip(*streams, strict=True):
            taken += [pack.idxs.tolist() for pack in step]
            assert len({pack.next_position for pack in step}) == 1
        position = streams[0][-1].next_position
    assert taken == plan
    assert position.window > 0


def test_state_is_the_position_and_reading_ahead_does_not_move_it():
    source = sampler()
    packs = list(itertools.islice(source, 10))
    assert source.state_dict() == {"window": 0, "pack": 0}
    source.position = packs[6].next_position
    resumed = sampler()
    resumed.load_state_dict(source.state_dict())
    assert next(iter(resumed)).idxs.tolist() == packs[7].idxs.tolist()


@pytest.mark.parametrize("state", [{}, {"window": 0}, {"window": -1, "pack": 0}, {"window": 0, "pack": 1.0}])
def test_broken_state_is_refused(state):
    with pytest.raises(CheckpointError, match="Sampler state: expected 'window' and 'pack'"):
        sampler().load_state_dict(state)


def test_position_beyond_the_plan_is_refused():
    num_packs = len(sampler().plan_window(0))
    assert next(iter(sampler(position=PlanPosition(0, num_packs)))).next_position == PlanPosition(1, 1)
    with pytest.raises(
        CheckpointError, match=rf"window 0 has {num_packs} packs, but the run stopped after 9999 of it"
    ):
        next(iter(sampler(position=PlanPosition(0, 9999))))


def test_advance_crosses_windows_and_stops_at_the_end():
    source = sampler(num_epochs=1)
    sizes = [len(source.plan_window(window)) for window in range(4)]
    assert source.advance(PlanPosition(0, 3), sizes[0]) == PlanPosition(1, 3)
    assert source.advance(PlanPosition(0, 0), sizes[0] + sizes[1]) == PlanPosition(2, 0)
    assert source.advance(PlanPosition(0, 0), 10_000) == PlanPosition(4, 0)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 7])
def test_finite_plan_fills_the_last_step_with_empty_packs(world_size):
    ranks = [list(sampler(num_epochs=1, rank=rank, world_size=world_size)) for rank in range(world_size)]
    num_packs = sampler(num_epochs=1).num_packs
    num_steps = -(-num_packs // world_size)
    assert [len(rank) for rank in ranks] == [num_steps] * world_size
    assert len(sampler(num_epochs=1, world_size=world_size)) == num_steps
    empty = [pack for rank in ranks for pack in rank if len(pack.idxs) == 0]
    assert len(empty) == num_steps * world_size - num_packs
    assert sum(len(pack.idxs) for rank in ranks for pack in rank) == 1000
    assert {(pack.epoch, pack.idxs.dtype) for pack in empty} <= {(0, np.dtype(np.int64))}
    assert len(sampler(num_epochs=1, position=PlanPosition(1, 2))) == num_packs - len(sampler().plan_window(0)) - 2
    assert list(sampler(num_epochs=1, position=PlanPosition(4, 0))) == []


def test_endless_plan_has_no_length():
    with pytest.raises(TypeError, match="endless plan has no number of packs"):
        len(sampler())


def test_lengths_from_a_function_may_change_with_the_epoch():
    def lengths_of(epoch, idxs):
        assert idxs.dtype == np.int64
        return np.full(len(idxs), 100 * (epoch + 1))

    source = sampler(lengths=lengths_of, num_samples=40, num_epochs=2)
    sizes = [[len(pack.idxs) for pack in source if pack.epoch == epoch] for epoch in range(2)]
    assert sizes == [[20, 20], [10, 10, 10, 10]]


def test_max_sequences():
    sizes = [len(pack.idxs) for pack in sampler(max_sequences=3, num_epochs=1)]
    assert max(sizes) == 3
    assert sum(sizes) == 1000


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"lengths": np.array([5, 3000, 7])},
            DataError,
            "Sample 1 has 3000 tokens, more than --tokens-per-batch 2048.",
        ),
        ({"lengths": np.array([5, 0, 7])}, DataError, "Sample 1 has 0 tokens, expected at least one."),
        ({"lengths": np.array([], dtype=np.int64)}, DataError, "There are no samples to pack."),
        ({"lengths": lambda epoch, idxs: idxs}, ConfigError, "num_samples: needed where lengths is a function."),
        ({"lengths": lambda epoch, idxs: idxs[:1] + 1, "num_samples": 3}, DataError, "lengths: expected (3,)"),
        ({"num_samples": 3}, ConfigError, "num_samples: 3 given, but there are 1000 lengths."),
        ({"max_tokens": 0}, ConfigError, "max_tokens: expected at least 1, got 0."),
        ({"window_size": 0}, ConfigError, "window_size: expected at least 1, got 0."),
        ({"num_epochs": 0}, ConfigError, "num_epochs: expected at least 1, got 0."),
        ({"rank": 2, "world_size": 2}, ConfigError, "rank: expected a number from 0 to 1, got 2."),
        ({"seed": -1}, ConfigError, "--seed: expected a number from 0 to 2**63 - 1, got -1."),
    ],
)
def test_wrong_input(changes, error, message):
    with pytest.raises(error) as caught:
        next(iter(sampler(**changes)))
    assert str(caught.value).startswith(message)


def check_fill(lengths: np.ndarray, max_tokens: int) -> None:
    packs = TokenBudgetBatchSampler(lengths, max_tokens, num_epochs=1)
    assert lengths.sum() / (packs.num_packs * max_tokens) >= 0.95


@pytest.mark.parametrize("max_tokens", [1024, 2048, 4096, 8192, 32768])
@pytest.mark.parametrize("num_samples", [3000, 20_000])
def test_packs_are_at_least_95_percent_full(num_samples, max_tokens):
    check_fill(made_up_lengths(num_samples), max_tokens)


@pytest.mark.parametrize("max_tokens", [1024, 4096, 32768])
def test_packs_of_real_proteins_are_at_least_95_percent_full(max_tokens):
    if not UNIREF.exists():
        pytest.skip("needs uniref90_9k.fasta.gz in shared/data beside the checkout")
    records = gzip.decompress(UNIREF.read_bytes()).decode().split(">")[1:]
    lengths = np.array([min(len("".join(record.split("\n")[1:])) + 2, 1024) for record in records])
    check_fill(lengths, max_tokens)


def test_company_in_a_pack_is_left_to_chance():
    """Packs of sequences sorted by length would have mean lengths far more spread than packs of random ones."""
    lengths = made_up_lengths(20_000)
    packs = TokenBudgetBatchSampler(lengths, 4096).plan_window(0)
    spread = np.std([lengths[pack].mean() for pack in packs])
    by_chance = lengths.std() / np.sqrt(len(lengths) / len(packs))
    assert spread < 1.35 * by_chance
    halves = np.array_split(np.array([lengths[pack].mean() for pack in packs]), 2)
    assert abs(halves[0].mean() - halves[1].mean()) < 5 * spread / np.sqrt(len(packs) / 2)


def test_planning_a_full_window_is_quick_and_state_stays_small():
    source = TokenBudgetBatchSampler(made_up_lengths, 4096, num_samples=10**12)
    source.lengths = lambda epoch, idxs: made_up_lengths(len(idxs))
    start = time.process_time()
    source.plan_window(12_345_678)
    assert time.process_time() - start < 1.5  # 0.1 s measured; the bound leaves room for a busy machine
    for window in range(4):
        source.plan_window(window)
    assert len(source._plans) == 3
    small = TokenBudgetBatchSampler(np.ones(10, dtype=np.int64), 4)
    assert len(pickle.dumps(small)) < 2000


class Identity:
    def __getitem__(self, pack: Pack) -> Pack:
        return pack


@pytest.mark.parametrize("num_workers", [0, 2])
def test_works_as_the_sampler_of_a_data_loader(num_workers):
    loader = DataLoader(
        Identity(), sampler=sampler(num_epochs=1), batch_size=None, num_workers=num_workers, collate_fn=lambda x: x
    )
    assert [pack.idxs.tolist() for pack in loader] == first(10_000, num_epochs=1)
