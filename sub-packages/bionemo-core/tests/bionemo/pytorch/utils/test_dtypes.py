# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import typing

import pytest
import torch

from bionemo.core.utils.dtypes import PrecisionTypes, dtype_to_precision, get_autocast_dtype, precision_to_dtype


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("fp16", torch.float16),
        ("16-mixed", torch.float16),
        ("fp16-mixed", torch.float16),
        (16, torch.float16),
        ("bf16", torch.bfloat16),
        ("bf16-mixed", torch.bfloat16),
        ("fp32", torch.float32),
        ("fp32-mixed", torch.float32),
        (32, torch.float32),
    ],
)
def test_autocast_dtype(precision, dtype):
    assert get_autocast_dtype(precision) is dtype
    assert precision_to_dtype[precision] is dtype


def test_every_precision_has_a_dtype():
    assert set(precision_to_dtype) == set(typing.get_args(PrecisionTypes))


@pytest.mark.parametrize("precision", ["fp8", "", None, 64])
def test_other_precision(precision):
    with pytest.raises(ValueError, match=f"^Unsupported precision: {precision}$"):
        get_autocast_dtype(precision)


def test_dtype_to_precision():
    assert dtype_to_precision == {torch.float16: 16, torch.bfloat16: "bf16-mixed", torch.float32: 32}
