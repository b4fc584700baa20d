# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The core attention against its formula, for every head dim of ESM-2 and for the shortest sequences."""

from types import SimpleNamespace

import pytest
import torch

from bionemo.esm2.model.attention import ESM2DotProductAttention
from bionemo.llm.model.rotary import RotaryEmbedding, rotate
from bionemo.llm.model.varlen.reference import SequenceTable


@pytest.mark.parametrize("head_dim", [16, 24, 32, 64, 128])
def test_attention_and_gradients_equal_the_formula(head_dim: int) -> None:
    lengths, num_heads = (1, 2, 37), 3
    num_tokens = sum(lengths)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(num_tokens, 1, num_heads, head_dim, generator=generator).double().requires_grad_()
        for _ in range(3)
    )
    cu_seqlens = torch.tensor([0, 1, 3, 40, 40], dtype=torch.int32)
    table = SequenceTable(cu_seqlens, 37, num_tokens, None, None, None)
    attention = ESM2DotProductAttention(
        SimpleNamespace(softmax_scale=1.0, attention_dropout=0.0, kv_channels=head_dim)
    )
    out = attention(query, key, value, table)

    expected = []
    for start, end in ((0, 1), (1, 3), (3, 40)):
        q, k, v = (x[start:end, 0].transpose(0, 1) for x in (query, key, value))
        expected.append((torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v).transpose(0, 1))
    reference = torch.cat(expected).reshape(num_tokens, 1, -1)
    torch.testing.assert_close(out, reference)
    weight = torch.randn(out.shape, generator=generator).double()
    ours = torch.autograd.grad((out * weight).sum(), (query, key, value), retain_graph=True)
    theirs = torch.autograd.grad((reference * weight).sum(), (query, key, value))
    for mine, formula in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, formula)


def test_rotation_and_its_gradient_equal_the_formula() -> None:
    rotary = RotaryEmbedding(16)
    position_ids = torch.tensor([0, 1, 2, 0, 1], dtype=torch.int32)
    cos, sin = rotary(position_ids)
    x = torch.randn(5, 3, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    angles = torch.cat((position_ids[:, None] * rotary.inv_freq,) * 2, dim=-1)[:, None]
    turned = torch.cat((-x[..., 8:], x[..., :8]), dim=-1)
    expected = x * angles.cos() + turned * angles.sin()
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(rotate(x, cos, sin), expected)
    ours = torch.autograd.grad((rotate(x, cos, sin) * weight).sum(), x)[0]
    torch.testing.assert_close(ours, torch.autograd.grad((expected * weight).sum(), x)[0])
    torch.testing.assert_close(rotate(x.double(), cos, sin).float(), expected)
