# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""GELU of compiled bfloat16 layers against the exact one, over every bfloat16 value there is."""

import pytest
import torch
import torch.nn.functional as F

from bionemo.llm.model.activations import BFloat16Gelu, gelu


@pytest.fixture(scope="module")
def every_value() -> torch.Tensor:
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    values = bits.view(torch.bfloat16)
    return values[values.isfinite()]


def test_the_result_is_within_a_bfloat16_step_and_nearly_always_the_same(every_value: torch.Tensor) -> None:
    exact = F.gelu(every_value.double())
    result = BFloat16Gelu.apply(every_value)
    assert result.isfinite().all()
    rounded = exact.bfloat16()
    step = (
        torch.nextafter(rounded.abs(), torch.tensor(torch.inf, dtype=torch.bfloat16)).double() - rounded.abs().double()
    )
    far = exact.abs() > 1e-6
    assert ((result.double() - exact).abs() / step)[far].max() < 1
    assert (result.double() - exact).abs()[~far].max() < 1e-8
    assert (result != rounded).float().mean() < 0.005


def test_the_gradient_is_as_close_as_bfloat16_allows(every_value: torch.Tensor) -> None:
    values, exact = every_value.clone().requires_grad_(), every_value.double().requires_grad_()
    (gradient,) = torch.autograd.grad(BFloat16Gelu.apply(values).sum(), values)
    (expected,) = torch.autograd.grad(F.gelu(exact).sum(), exact)
    assert (gradient.double() - expected).abs().max() < 0.0045  # rounding alone: 0.0039


def test_the_approximation_compiles_to_one_graph(every_value: torch.Tensor) -> None:
    compiled = torch.compile(BFloat16Gelu.apply, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(every_value), BFloat16Gelu.apply(every_value))


def test_nothing_else_is_approximated() -> None:
    compiled = torch.compile(gelu, backend="aot_eager", fullgraph=True)
    for dtype in (torch.float32, torch.bfloat16):
        values = torch.randn(1000).to(dtype)
        assert torch.equal(gelu(values), F.gelu(values))
        assert torch.equal(compiled(values), F.gelu(values))
