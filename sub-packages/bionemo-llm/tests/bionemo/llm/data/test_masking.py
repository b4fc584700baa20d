# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from bionemo.core.errors import ConfigError, DataError
from bionemo.llm.data.masking import (
    BertMaskConfig,
    PackMasking,
    add_cls_and_eos_tokens,
    apply_bert_pretraining_mask,
    mask_pack,
)


@dataclass
class Vocabulary:
    mask_token_id: int | None = 32
    all_special_ids: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 32])


MASKING = PackMasking(seed=7, mask_token_id=32, special_ids=(0, 1, 2, 3, 32), random_token_ids=tuple(range(4, 31)))
CONFIG = BertMaskConfig(tokenizer=Vocabulary(), random_tokens=range(4, 31))


def _pack(num_samples=200, length=500):
    rng = np.random.default_rng(0)
    tokens = rng.integers(4, 24, num_samples * length).astype(np.uint8)
    tokens[::length] = 0
    tokens[length - 1 :: length] = 2
    return tokens, np.full(num_samples, length), np.arange(num_samples)


def test_established_mask_draws_one_rand_then_one_randint():
    ids = torch.tensor([0, *([5, 6, 7, 8] * 60), 2])
    masked, labels, loss_mask = apply_bert_pretraining_mask(ids, 1234, CONFIG)
    generator = torch.Generator().manual_seed(1234)
    draws = torch.rand(len(ids), generator=generator).tolist()
    special = {0, 1, 2, 3, 32}
    replaced = [i for i, r in enumerate(draws) if 0.12 <= r < 0.135 and int(ids[i]) not in special]
    random_ids = torch.randint(4, 31, (len(replaced),), generator=generator)
    expected = ids.clone()
    for i, r in enumerate(draws):
        if r < 0.12 and int(ids[i]) not in special:
            expected[i] = 32
    expected[replaced] = random_ids
    assert replaced
    assert torch.equal(masked, expected)
    selected = torch.tensor([r < 0.15 and int(i) not in special for r, i in zip(draws, ids, strict=True)])
    assert torch.equal(loss_mask, selected)
    assert torch.equal(labels, torch.where(selected, ids, -100))
    assert (masked.dtype, labels.dtype, loss_mask.dtype) == (torch.int64, torch.int64, torch.bool)


def test_established_mask_leaves_its_input_and_the_global_generator_alone():
    ids = torch.arange(4, 31).repeat(10)
    before, state = ids.clone(), torch.get_rng_state()
    apply_bert_pretraining_mask(ids, 0, CONFIG)
    assert torch.equal(ids, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_mask_token_is_an_error():
    config = BertMaskConfig(tokenizer=Vocabulary(mask_token_id=None), random_tokens=range(4, 31))
    with pytest.raises(ValueError, match="Tokenizer must have a mask token"):
        apply_bert_pretraining_mask(torch.arange(4, 9), 0, config)


@pytest.mark.parametrize("build", [lambda **k: replace(CONFIG, **k), lambda **k: replace(MASKING, **k)])
def test_impossible_probabilities_are_refused(build):
    with pytest.raises(ValueError, match="Sum of random_token_prob and mask_token_prob"):
        build(mask_token_prob=0.8, random_token_prob=0.3)
    with pytest.raises(ConfigError, match=r"mask_prob must lie between 0 and 1, found 1\.5"):
        build(mask_prob=1.5)


def test_random_replacement_needs_ids():
    with pytest.raises(ConfigError, match="random_token_ids is empty"):
        replace(MASKING, random_token_ids=())
    assert replace(MASKING, random_token_ids=(), random_token_prob=0.0).random_token_ids == ()


@pytest.mark.parametrize(("cls_token", "eos_token"), [(0, 2), (0, None), (None, 2), (None, None)])
def test_added_special_tokens_carry_no_loss(cls_token, eos_token):
    parts = torch.tensor([5, 32]), torch.tensor([-100, 6]), torch.tensor([False, True])
    sequence, labels, loss_mask = add_cls_and_eos_tokens(*parts, cls_token=cls_token, eos_token=eos_token)
    first, last = [cls_token] * (cls_token is not None), [eos_token] * (eos_token is not None)
    assert sequence.tolist() == [*first, 5, 32, *last]
    assert labels.tolist() == [-100] * len(first) + [-100, 6] + [-100] * len(last)
    assert loss_mask.tolist() == [False] * len(first) + [False, True] + [False] * len(last)
    assert (sequence.dtype, labels.dtype, loss_mask.dtype) == (torch.int64, torch.int64, torch.bool)


def test_packed_shares_are_those_asked_for():
    tokens, lengths, idxs = _pack()
    mask = mask_pack(tokens, lengths, idxs, epoch=0, masking=MASKING)
    num_ordinary = (tokens > 3).sum()
    originals = tokens[mask.positions]
    hidden = mask.replacement_ids == 32
    kept_or_drawn_equal = mask.replacement_ids == originals
    assert not np.isin(originals, [0, 1, 2, 3, 32]).any()

    def close(share, expected, n):
        return abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / n)  # five standard errors

    assert close(len(mask.positions) / num_ordinary, 0.15, num_ordinary)
    assert close(hidden.mean(), 0.8, len(hidden))
    assert close(kept_or_drawn_equal.mean(), 0.1 + 0.1 / 27, len(hidden))
    drawn = mask.replacement_ids[~hidden & ~kept_or_drawn_equal]
    counts = np.bincount(drawn, minlength=31)
    assert counts[:4].sum() == 0
    assert counts[4:31].min() > 0
    # ids 24 to 30 never are the original, so each is drawn in 1/27 of the cases
    assert close(counts[24:31].sum() / (0.1 * len(hidden)), 7 / 27, 0.1 * len(hidden))


def test_a_samples_mask_does_not_depend_on_its_pack_but_on_seed_epoch_and_index():
    tokens, lengths, idxs = _pack(num_samples=10)
    whole = mask_pack(tokens, lengths, idxs, epoch=2, masking=MASKING)
    order = np.array([7, 3])
    part_tokens = np.concatenate([tokens[i * 500 : (i + 1) * 500] for i in order])
    part = mask_pack(part_tokens, lengths[order], idxs[order], epoch=2, masking=MASKING)
    for place, sample in enumerate(order):
        inside = whole.positions // 500 == sample
        inside_part = part.positions // 500 == place
        np.testing.assert_array_equal(whole.positions[inside] % 500, part.positions[inside_part] % 500)
        np.testing.assert_array_equal(whole.replacement_ids[inside], part.replacement_ids[inside_part])
    for epoch, masking in ((3, MASKING), (2, replace(MASKING, seed=8))):
        other = mask_pack(tokens, lengths, idxs, epoch=epoch, masking=masking)
        assert len(np.intersect1d(other.positions, whole.positions)) < 0.3 * len(whole.positions)


def test_hiding_everything_selects_the_same_tokens():
    tokens, lengths, idxs = _pack(num_samples=20)
    mixed = mask_pack(tokens, lengths, idxs, epoch=1, masking=MASKING)
    hidden = mask_pack(
        tokens, lengths, idxs, epoch=1, masking=replace(MASKING, mask_token_prob=1.0, random_token_prob=0.0)
    )
    np.testing.assert_array_equal(mixed.positions, hidden.positions)
    assert set(hidden.replacement_ids.tolist()) == {32}


def test_everything_or_nothing_can_be_selected():
    tokens, lengths, idxs = _pack(num_samples=3)
    everything = mask_pack(tokens, lengths, idxs, epoch=0, masking=replace(MASKING, mask_prob=1.0))
    np.testing.assert_array_equal(everything.positions, np.flatnonzero(tokens > 3))
    assert len(mask_pack(tokens, lengths, idxs, epoch=0, masking=replace(MASKING, mask_prob=0.0)).positions) == 0


def test_data_error_is_a_value_error():
    assert issubclass(DataError, ValueError)


def test_a_range_of_random_ids_draws_what_the_same_ids_listed_draw():
    tokens = np.full(2000, 5)
    listed = replace(MASKING, random_token_ids=tuple(range(10, 30, 2)), random_token_prob=0.2)
    as_range = replace(listed, random_token_ids=range(10, 30, 2))
    lengths, idxs = np.array([1500, 500]), np.array([3, 4])
    expected = mask_pack(tokens, lengths, idxs, epoch=1, masking=listed)
    found = mask_pack(tokens, lengths, idxs, epoch=1, masking=as_range)
    np.testing.assert_array_equal(found.replacement_ids, expected.replacement_ids)
    assert {10, 28} < set(found.replacement_ids.tolist()) - {5, 32} <= set(range(10, 30, 2))
