# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The check of a kernel's dropout: the mask is found, and a wrong mask, gradient or probability too."""

import pytest
import torch
from torch import Tensor

from bionemo.llm.model.varlen import kernels
from bionemo.llm.model.varlen.dropout_check import check_dropout, recover_masks
from bionemo.llm.model.varlen.kernels import VarlenKernel, choose_kernel_with_dropout
from bionemo.testing.exact_attention import exact_attention, exact_attention_with_dropout


CPU = torch.device("cpu")
attend = exact_attention_with_dropout()


def plan(cu_seqlens: Tensor, num_heads: int, head_dim: int) -> Tensor:
    return cu_seqlens


def problem_of(attention) -> str | None:
    return check_dropout(plan, attention, 2, 16, torch.float32, CPU)


def test_an_exact_kernel_passes_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    assert problem_of(attend) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_another_probability_is_found():
    assert problem_of(lambda *inputs: attend(*inputs[:-1], inputs[-1] / 2)) == (
        "it keeps 0.900 of the attention weights, not 0.8"
    )


def test_a_wrong_gradient_is_found():
    def wrong(query, key, value, *rest):
        return attend(query, key * 1.1 - (0.1 * key).detach(), value, *rest)

    assert problem_of(wrong).startswith("its dk is")


def test_a_backward_pass_under_another_mask_is_found():
    def wrong(query, key, value, *rest):
        other = attend(query, key, value, *rest)  # drawn second: its gradients belong to another mask
        return attend(query.detach(), key.detach(), value.detach(), *rest) + other - other.detach()

    assert problem_of(wrong).startswith("its dq is")


def test_the_mask_is_the_one_that_was_drawn():
    cu_seqlens = torch.tensor([0, 3, 3, 40], dtype=torch.int32)
    like = torch.zeros(40, 2, 8)

    def run(*inputs):
        torch.manual_seed(1)
        return attend(*inputs, cu_seqlens, 40, 0.3, 0.4)

    masks = recover_masks(run, cu_seqlens, like)
    assert [mask.shape for mask in masks] == [(2, 3, 3), (2, 0, 0), (2, 37, 37)]
    value = torch.randn(40, 2, 8)
    out = run(like, like, value)
    expected = (masks[2] / 37 / 0.6) @ value[3:].transpose(0, 1)
    torch.testing.assert_close(out[3:].transpose(0, 1), expected)


def test_the_choice_is_the_first_whose_dropout_is_right(monkeypatch):
    no_dropout = VarlenKernel("torch", "torch", plan, exact_attention())
    wrong = no_dropout._replace(attend_with_dropout=lambda *inputs: attend(*inputs[:-1], 0.0))
    right = no_dropout._replace(attend_with_dropout=attend)
    for entries, expected in (({"a": no_dropout, "b": wrong, "c": right}, "c"), ({"a": no_dropout, "b": wrong}, None)):
        choose_kernel_with_dropout.cache_clear()
        monkeypatch.setattr(kernels, "KERNELS", entries)
        assert choose_kernel_with_dropout(2, 16, torch.float32, CPU) == expected
    choose_kernel_with_dropout.cache_clear()


@pytest.mark.needs_gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="1 GPU, found 0")
@pytest.mark.parametrize("head_dim", [16, 32, 64, 128])
def test_torchs_kernel_equals_float32_under_its_own_mask(head_dim: int) -> None:
    kernel = kernels.KERNELS["torch"]
    assert kernel.attend_with_dropout is not None
    device = torch.device("cuda")
    assert check_dropout(kernel.plan, kernel.attend_with_dropout, 4, head_dim, torch.bfloat16, device) is None
