# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import pytest
import torch
import torch.nn.functional as F

from bionemo.llm.model.varlen import reference
from bionemo.llm.model.varlen.reference import SequenceTable, sequence_by_sequence_attention


LENGTHS = (5, 5, 3, 3, 3, 7, 5)
TOKENS, TAIL = sum(LENGTHS), 4


def table() -> SequenceTable:
    ends = torch.tensor([0, *LENGTHS, 0]).cumsum(0).to(torch.int32)  # one empty slot at the end
    return SequenceTable(ends, max(LENGTHS), TOKENS, None, None, None, None, None)


def inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(TOKENS + TAIL, 2, 8, generator=generator, requires_grad=True) for _ in range(3)]


def test_equal_to_each_sequence_alone_with_gradients() -> None:
    ours, theirs = inputs(), inputs()
    found = sequence_by_sequence_attention(*ours, table(), scale=0.3)
    starts = torch.tensor([0, *LENGTHS]).cumsum(0).tolist()
    parts = []
    for first, length in zip(starts, LENGTHS, strict=False):
        one = (x[first : first + length].transpose(0, 1).unsqueeze(0) for x in theirs)
        parts.append(F.scaled_dot_product_attention(*one, scale=0.3).squeeze(0).transpose(0, 1))
    expected = torch.cat([*parts, torch.zeros(TAIL, 2, 8)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    for result in (found, expected):
        (result * weights).sum().backward()
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x.grad, y.grad, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dropout", "calls"), [(0.0, [2, 3, 1, 1]), (0.5, [1] * 7)])
def test_neighbours_of_one_length_go_through_together_unless_dropout_keeps_weights(
    monkeypatch: pytest.MonkeyPatch, dropout: float, calls: list[int]
) -> None:
    seen = []

    def counting(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **rest: float) -> torch.Tensor:
        seen.append(len(query))
        return value

    monkeypatch.setattr(reference.F, "scaled_dot_product_attention", counting)
    query, key, value = inputs()
    found = sequence_by_sequence_attention(query, key, value, table(), 1.0, dropout)
    assert seen == calls
    torch.testing.assert_close(found[:TOKENS], value[:TOKENS], rtol=0, atol=0)
