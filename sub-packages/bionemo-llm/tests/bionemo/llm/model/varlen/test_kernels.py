# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The choice of an attention kernel: only one that is there and agrees with float32, tail and gradients included."""

import logging

import pytest
import torch
from torch._subclasses import FakeTensorMode

from bionemo.core.errors import ConfigError, MissingDependencyError
from bionemo.llm.model.attention import varlen_attention
from bionemo.llm.model.varlen import cudnn_flash, fa4, kernels
from bionemo.llm.model.varlen.kernels import KERNELS, VarlenKernel, check_kernel, choose_kernel, is_installed
from bionemo.llm.model.varlen.reference import SequenceTable, sequence_by_sequence_attention


CPU = torch.device("cpu")
HALF = torch.bfloat16


def exact_kernel(wrong_gradient: float = 1.0, fails: bool = False) -> VarlenKernel:
    """A kernel made of torch's scaled dot product, on every device."""

    def attend(query, key, value, plan, max_seqlen, scale):
        if fails:
            raise RuntimeError("no such device\nand a long trace")
        table = SequenceTable(plan, max_seqlen, int(plan[-1]), None, None, None)
        key = key * wrong_gradient + (key * (1 - wrong_gradient)).detach()
        return sequence_by_sequence_attention(query, key, value, table, scale)

    return VarlenKernel("torch", "torch", lambda cu_seqlens, num_heads, head_dim: cu_seqlens, attend)


@pytest.fixture
def only(monkeypatch):
    def replace(**entries: VarlenKernel) -> None:
        monkeypatch.setattr(kernels, "KERNELS", entries)

    choose_kernel.cache_clear()
    yield replace
    choose_kernel.cache_clear()


def test_a_kernel_that_agrees_passes():
    assert check_kernel(exact_kernel(), 2, 16, HALF, CPU) is None


def test_a_silently_wrong_gradient_is_found():
    assert check_kernel(exact_kernel(wrong_gradient=1.1), 2, 16, HALF, CPU).startswith("its dk is")


def test_a_kernel_that_raises_is_reported_in_one_line():
    problem = check_kernel(exact_kernel(fails=True), 2, 16, HALF, CPU)
    assert problem == "fails with RuntimeError: no such device"


def test_a_kernel_that_misreads_the_fused_projection_is_found():
    """As cuDNN's backward pass did: right for tensors of their own, wrong for views of query, key and value."""
    right = exact_kernel()

    def attend(query, *rest):
        factor = 1.0 if query.is_contiguous() else 1.1
        return right.attend(query * factor + (query * (1 - factor)).detach(), *rest)

    problem = check_kernel(right._replace(attend=attend), 2, 16, HALF, CPU)
    assert problem is not None
    assert problem.startswith("its dq is")
    assert problem.endswith("(fused query, key and value)")


def test_the_check_works_inside_inference_mode():
    with torch.inference_mode():
        assert check_kernel(exact_kernel(), 2, 16, HALF, CPU) is None


def test_auto_passes_over_what_is_wrong_or_missing(only, caplog):
    missing = exact_kernel()._replace(module="no_such_package.kernel")
    only(missing=missing, wrong=exact_kernel(wrong_gradient=0.5), right=exact_kernel(), slower=exact_kernel())
    with caplog.at_level(logging.INFO):
        assert choose_kernel("auto", 2, 16, HALF, CPU) == "right"
    assert "kernel wrong is passed over" in caplog.text
    assert "missing" not in caplog.text


def test_auto_without_any_kernel_is_none(only):
    only(wrong=exact_kernel(fails=True))
    assert choose_kernel("auto", 2, 16, HALF, CPU) is None


def test_fa4_is_never_tried_below_its_head_dim(only):
    only(fa4=exact_kernel(), torch=exact_kernel())
    assert choose_kernel("auto", 2, 16, HALF, CPU) == "torch"
    assert choose_kernel("auto", 2, 32, HALF, CPU) == "fa4"


def test_a_wanted_kernel_is_taken_or_refused(only):
    only(
        right=exact_kernel(),
        wrong=exact_kernel(wrong_gradient=0.5),
        missing=exact_kernel()._replace(module="no_such_package", extra="bionemo-llm[missing]"),
    )
    assert choose_kernel("right", 2, 16, HALF, CPU) == "right"
    with pytest.raises(ConfigError, match=r"--attention wrong: its dk is .* at a head dim of 16"):
        choose_kernel("wrong", 2, 16, HALF, CPU)
    with pytest.raises(MissingDependencyError, match=r'pip install "bionemo-llm\[missing\]"'):
        choose_kernel("missing", 2, 16, HALF, CPU)


def test_the_tail_stays_out_of_a_kernel(monkeypatch):
    """Kernels write nothing there; here the stand-in would raise if it saw the tail."""
    monkeypatch.setitem(KERNELS, "exact", exact_kernel())
    cu_seqlens = torch.tensor([0, 2, 7], dtype=torch.int32)
    table = SequenceTable(cu_seqlens, 5, 7, None, None, None, "exact", cu_seqlens)
    inputs = [torch.randn(10, 2, 4, requires_grad=True) for _ in range(3)]
    out = varlen_attention(*inputs, table, 0.5)
    assert out.shape == (10, 2, 4)
    assert not out[7:].any()
    for gradient in torch.autograd.grad(out.sum() + out[7:].sum(), inputs):
        assert not gradient[7:].any()


def test_cudnn_plan_holds_the_offsets_of_both_row_lengths():
    plan = cudnn_flash.plan(torch.tensor([0, 3, 3, 10], dtype=torch.int32), num_heads=2, head_dim=4)
    assert plan.dtype == torch.int32
    assert plan.tolist() == [[0, 24, 24, 80], [0, 72, 72, 240], [0, 6, 6, 20], [3, 0, 7, 0]]


@pytest.mark.parametrize("module", [cudnn_flash, fa4], ids=["cudnn", "fa4"])
def test_operators_of_foreign_kernels_are_traced_as_one_graph_without_their_packages(module):
    plan_of = KERNELS[{cudnn_flash: "cudnn", fa4: "fa4"}[module]].plan
    torch._dynamo.reset()

    @torch.compile(backend="aot_eager", fullgraph=True)
    def attend(query, key, value, plan):
        return module.attend(query, key, value, plan, 32, 0.25)

    with FakeTensorMode():
        inputs = [torch.empty(64, 2, 16, dtype=HALF, requires_grad=True) for _ in range(3)]
        result = attend(*inputs, plan_of(torch.zeros(5, dtype=torch.int32), 2, 16))
        gradients = torch.autograd.grad(result.sum(), inputs)
    for tensor in (result, *gradients):
        assert (tensor.shape, tensor.dtype, tensor.is_contiguous()) == ((64, 2, 16), HALF, True)


@pytest.mark.needs_gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="1 GPU, found 0")
@pytest.mark.parametrize("head_dim", [16, 24, 32, 64, 128])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_equal_float32_on_a_gpu(name: str, head_dim: int) -> None:
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    if name == "fa4" and head_dim < kernels.FA4_MIN_HEAD_DIM:
        pytest.skip("known to be wrong there, and never chosen")
    assert check_kernel(KERNELS[name], 4, head_dim, HALF, torch.device("cuda")) is None
