# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Gradients are clipped and parameters stepped without waiting for the device once for each of them."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


pytestmark = pytest.mark.nemo_env


class HostReads(TorchDispatchMode):
    """Counts how often a number is read from a tensor: on a GPU each is a wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def gradients() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in ((3, 5), (7,), (2, 3, 4), (1,))]


def test_norm_of_all_gradients_without_a_read() -> None:
    from bionemo.llm.megatron.foreach_ops import norm_of_list

    tensors = gradients()
    with HostReads() as reads:
        norm, nothing = norm_of_list(0, torch.zeros(1), [tensors], False)
    expected = torch.cat([tensor.double().flatten() for tensor in tensors]).norm()
    assert norm.shape == (1,)
    assert nothing is None
    assert reads.number == 0
    torch.testing.assert_close(norm[0].double(), expected, rtol=1e-6, atol=0)  # float32's rounding


def test_scaling_in_place_and_into_others() -> None:
    from bionemo.llm.megatron.foreach_ops import scale_list

    tensors, others = gradients(), [torch.zeros_like(tensor) for tensor in gradients()]
    scale_list(0, torch.zeros(1), [tensors, others], 0.5)
    scale_list(0, torch.zeros(1), [tensors, tensors], 0.5)
    for tensor, other, before in zip(tensors, others, gradients(), strict=True):
        assert torch.equal(tensor, before * 0.5)
        assert torch.equal(other, before * 0.5)


def test_megatron_clips_with_them_and_reads_one_number() -> None:
    from megatron.core.optimizer import clip_grads

    from bionemo.llm.megatron.foreach_ops import norm_of_list, use_tensor_lists

    use_tensor_lists()
    assert clip_grads.l2_norm_impl is norm_of_list
    with HostReads() as reads:
        norm, _ = clip_grads.multi_tensor_applier(clip_grads.l2_norm_impl, torch.zeros(1), [gradients()], False)
        norm.item()
    assert reads.number == 1


def test_adam_is_fused_in_every_part_of_a_chain() -> None:
    from bionemo.llm.megatron.foreach_ops import fuse_adam

    inner = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))])
    fuse_adam(SimpleNamespace(chained_optimizers=[SimpleNamespace(optimizer=part) for part in (inner, other, None)]))
    assert inner.param_groups[0]["fused"]
    assert not other.param_groups[0]["fused"]
