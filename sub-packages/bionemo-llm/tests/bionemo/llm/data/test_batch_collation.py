# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Joining batch outputs: axes, padding, nesting and refusals."""

import pytest
import torch

from bionemo.core.errors import DataError
from bionemo.llm.data.batch_collation import batch_collator, get_dtype_device, some_first


def test_pads_the_sequence_axis_and_joins_the_batch_axis():
    joined = batch_collator([torch.ones(2, 3), 2 * torch.ones(1, 5)])
    assert joined.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [2, 2, 2, 2, 2]]


def test_hidden_states_are_padded_in_the_middle_axis():
    joined = batch_collator([torch.ones(2, 3, 4), torch.ones(1, 2, 4)])
    assert joined.shape == (3, 3, 4)
    assert joined[2].sum(dim=-1).tolist() == [4, 4, 0]


def test_logits_of_a_dict_are_sequence_first():
    batches = [
        {"token_logits": torch.ones(3, 2, 7), "embeddings": torch.ones(2, 4), "binary_logits": None},
        {"token_logits": torch.ones(5, 1, 7), "embeddings": torch.zeros(1, 4), "binary_logits": None},
    ]
    joined = batch_collator(batches)
    assert joined["token_logits"].shape == (5, 3, 7)
    assert joined["token_logits"].sum(dim=(0, 2)).tolist() == [21, 21, 35]
    assert joined["embeddings"].tolist() == [[1] * 4, [1] * 4, [0] * 4]
    assert joined["binary_logits"] is None


def test_keys_may_be_told_other_axes():
    batches = [{"x": torch.ones(3, 2)}, {"x": torch.ones(4, 1)}]
    joined = batch_collator(batches, batch_dim_key_defaults={"x": 1}, seq_dim_key_defaults={"x": 0})
    assert joined["x"].tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 1]]


def test_nested_lists_tuples_and_dicts_keep_their_form():
    batches = [({"ids": torch.tensor([1, 2])}, [torch.tensor(5.0)]), ({"ids": torch.tensor([3])}, [torch.tensor(6.0)])]
    joined = batch_collator(batches)
    assert isinstance(joined, tuple)
    assert isinstance(joined[1], list)
    assert joined[0]["ids"].tolist() == [1, 2, 3]
    assert joined[1][0].tolist() == [5.0, 6.0]


def test_dtype_is_kept_and_one_batch_is_itself():
    joined = batch_collator([torch.ones(1, 2, dtype=torch.int64), torch.ones(1, 4, dtype=torch.int64)])
    assert joined.dtype == torch.int64
    only = torch.rand(2, 3)
    assert torch.equal(batch_collator([only]), only)


def test_none_in_every_batch_stays_none():
    assert batch_collator([None, None]) is None


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "Cannot process an empty sequence"),
        ([1, 2], "Unsupported input structure: found int"),
        ([None, torch.ones(1)], "Unsupported input structure: the batches are of different types"),
        ([{"a": torch.ones(1)}, {"b": torch.ones(1)}], "batches of different keys"),
        ([[torch.ones(1)], []], "batches of different lengths, 1 and 0"),
    ],
)
def test_refusals(batches, message):
    with pytest.raises(DataError, match=message):
        batch_collator(batches)


def test_parameters_join_with_tensors():
    joined = batch_collator([torch.nn.Parameter(torch.ones(2)), torch.zeros(1)])
    assert joined.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    "holder",
    [
        torch.zeros(1, dtype=torch.float16),
        torch.nn.Linear(2, 2, dtype=torch.float16),
        {"first": [torch.zeros(1, dtype=torch.float16)], "second": torch.zeros(1)},
    ],
    ids=["tensor", "module", "nested"],
)
def test_dtype_and_device_of_the_first_tensor(holder):
    assert get_dtype_device(holder) == (torch.float16, torch.device("cpu"))


@pytest.mark.parametrize("empty", [[], {}, torch.nn.Identity()])
def test_nothing_has_no_dtype(empty):
    with pytest.raises(DataError, match="without any tensor"):
        get_dtype_device(empty)


def test_dtype_of_something_else():
    with pytest.raises(TypeError, match="found str"):
        get_dtype_device("text")


def test_some_first():
    assert some_first([None, 0, 1]) == 0
    with pytest.raises(DataError, match="not found"):
        some_first(iter([None]))
