# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import warnings

import pytest
import torch

from bionemo.llm.data import collate
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX, bert_padding_collate_fn, padding_collate_fn


def _sample(length):
    ids = torch.arange(4, 4 + length)
    return {
        "text": ids,
        "types": torch.zeros_like(ids),
        "attention_mask": torch.ones_like(ids),
        "labels": ids,
        "loss_mask": torch.ones(length, dtype=torch.bool),
        "is_random": torch.zeros_like(ids),
    }


def test_padding_of_every_key():
    batch = bert_padding_collate_fn([_sample(2), _sample(3)], padding_value=1, min_length=4)
    assert batch["text"].tolist() == [[4, 5, 1, 1], [4, 5, 6, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]
    assert batch["labels"].tolist() == [[4, 5, -100, -100], [4, 5, 6, -100]]
    assert batch["loss_mask"].tolist() == [[True, True, False, False], [True, True, True, False]]
    assert batch["types"].sum() == batch["is_random"].sum() == 0
    assert MLM_LOSS_IGNORE_INDEX == -100


@pytest.mark.parametrize(
    ("min_length", "max_length", "width"), [(None, None, 5), (2, None, 5), (7, None, 7), (None, 3, 3), (4, 3, 4)]
)
def test_cut_then_pad(min_length, max_length, width):
    batch = bert_padding_collate_fn([_sample(1), _sample(5)], 1, min_length=min_length, max_length=max_length)
    assert batch["text"].shape == (2, width)
    kept = min(5, max_length or 5)
    assert batch["text"][1].tolist() == list(range(4, 4 + kept)) + [1] * (width - kept)


def test_nothing_gives_nothing():
    assert padding_collate_fn([], {}) == {}


def test_different_keys_are_refused():
    with pytest.raises(ValueError, match=r"All keys in inputs must match.*sample 1 has \['b'\]"):
        padding_collate_fn([{"a": torch.ones(1)}, {"b": torch.ones(1)}], {"a": 0})


def test_unknown_keys_are_stacked_with_one_warning(monkeypatch):
    monkeypatch.setattr(collate, "_warned_keys", set())
    samples = [{"a": torch.ones(n), "id": torch.tensor([n])} for n in (1, 2)]
    with pytest.warns(UserWarning, match="Extra keys in batch that will not be padded: \\['id'\\]"):
        batch = padding_collate_fn(samples, {"a": 0})
    assert batch["id"].tolist() == [[1], [2]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        padding_collate_fn(samples, {"a": 0})
