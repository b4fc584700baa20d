# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
from collections import namedtuple

import numpy as np
import pytest
import torch

from bionemo.testing.torch import (
    check_fp8_support,
    get_device_and_memory_allocated,
    recursive_assert_approx_equal,
    recursive_detach,
)


Pair = namedtuple("Pair", "left right")


def test_detach_keeps_the_structure_and_shares_nothing():
    weight = torch.ones(2, requires_grad=True)
    copy = recursive_detach({"a": [weight, (weight * 2, "text")], "pair": Pair(weight, None)})
    with torch.no_grad():
        weight += 5
    assert isinstance(copy["pair"], Pair)
    assert copy["a"][0].tolist() == copy["pair"].left.tolist() == [1, 1]
    assert not copy["a"][0].requires_grad
    assert not copy["a"][1][0].requires_grad
    assert copy["a"][1][1] == "text"


def test_close_values_pass_and_the_tolerances_count():
    x = {"a": [torch.tensor([1.0, 2.0]), 3.0], "b": np.array([1, 2]), "c": "same"}
    y = {"a": [torch.tensor([1.00005, 2.0]), 3.00002], "b": np.array([1, 2]), "c": "same"}
    recursive_assert_approx_equal(x, y)
    with pytest.raises(AssertionError, match=r"\['a'\]\[0\]: 1.0 vs 1.00005"):
        recursive_assert_approx_equal(x, y, atol=0, rtol=0)
    recursive_assert_approx_equal(torch.tensor([1.5], dtype=torch.bfloat16), torch.tensor([1.5], dtype=torch.bfloat16))


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        ([1, 2], [1], "Length mismatch: 2 vs 1"),
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}, "Keys differ: only in the first \\[\"'b'\"\\], only in the second"),
        ([torch.zeros(2, 3)], [torch.zeros(3, 2)], r"\[0\]: Shape mismatch: \(2, 3\) vs \(3, 2\)"),
        ({"a": 1}, {"a": "1"}, r"\['a'\]: 1 vs '1'"),
        (torch.zeros(1), "0", "Tensor vs str"),
        (float("nan"), float("nan"), "nan vs nan, not a number"),
        (torch.tensor([0, 1, 5.0]), torch.tensor([0, 2, 7.5]), r"5.0 vs 7.5 at \(2,\), largest difference 2.500e\+00"),
        (np.array([1, 0, 9]), np.array([1, 0, 8]), "9 vs 8"),
        (True, False, "True vs False"),
    ],
)
def test_what_differs_is_told(x, y, text):
    with pytest.raises(AssertionError, match=text):
        recursive_assert_approx_equal(x, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without CUDA answers")
def test_without_cuda():
    assert check_fp8_support() == (False, "0.0", "CUDA not available")


@pytest.mark.needs_gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="1 GPU needed, found 0")
def test_with_cuda():
    supported, capability, text = check_fp8_support()
    assert supported == (torch.cuda.get_device_capability() >= (8, 9))
    assert capability in text
    lines = get_device_and_memory_allocated().splitlines()
    assert [line.split(": ")[0] for line in lines][-1] == "max memory reserved for tensors etc"
