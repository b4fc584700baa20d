# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch

from bionemo.core.utils.batching_utils import pad_token_ids


def test_lists():
    ids, mask = pad_token_ids([[1, 2, 3], [4], []], padding_value=9)
    assert torch.equal(ids, torch.tensor([[1, 2, 3], [4, 9, 9], [9, 9, 9]]))
    assert ids.dtype == torch.int64
    assert torch.equal(mask, torch.tensor([[True, True, True], [True, False, False], [False, False, False]]))


def test_tensors_keep_their_dtype():
    ids, mask = pad_token_ids([torch.tensor([1, 2], dtype=torch.int32), torch.tensor([3], dtype=torch.int32)])
    assert torch.equal(ids, torch.tensor([[1, 2], [3, 0]], dtype=torch.int32))
    assert mask.dtype == torch.bool


@pytest.mark.parametrize(
    ("padding_len", "divisor", "length"), [(None, 1, 3), (5, 1, 5), (None, 8, 8), (9, 8, 16), (3, 3, 3), (3, 1, 3)]
)
def test_length(padding_len, divisor, length):
    ids, mask = pad_token_ids([[1, 2, 3], [4]], padding_len=padding_len, pad_size_divisible_by=divisor)
    assert ids.shape == mask.shape == (2, length)
    assert mask.sum(dim=1).tolist() == [3, 1]


def test_conversion_applies_to_both():
    ids, mask = pad_token_ids([[1]], dtype=torch.float16)
    assert ids.dtype == mask.dtype == torch.float16
    assert pad_token_ids([[1]], device="meta")[1].device.type == "meta"


def test_wrong_input():
    message = r"sequence 1 has 4 tokens, more than padding_len 3\. Crop it or raise padding_len\."
    with pytest.raises(ValueError, match=message):
        pad_token_ids([[1], [1, 2, 3, 4], [2]], padding_len=3)
    with pytest.raises(ValueError, match="expected at least one sequence, got an empty list"):
        pad_token_ids([])
