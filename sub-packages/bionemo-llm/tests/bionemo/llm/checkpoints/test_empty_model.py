# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A model built empty is the model itself but for the values: shapes, ties, marks and what is trained."""

import torch
from torch import nn

from bionemo.llm.checkpoints.empty_model import build_empty


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 3)
        self.output = nn.Linear(3, 5)
        self.output.weight = self.table.weight
        self.output.bias.requires_grad_(False)
        self.output.bias.sequence_parallel = True
        self.register_buffer("count", torch.zeros(2, dtype=torch.int64))


def test_ties_marks_dtypes_and_devices_are_kept() -> None:
    module = build_empty(Tied)
    assert module.output.weight is module.table.weight
    assert not module.output.bias.requires_grad
    assert module.output.bias.sequence_parallel
    assert (module.count.dtype, module.count.device.type, module.count.shape) == (torch.int64, "cpu", (2,))
    module.load_state_dict(Tied().state_dict())
    assert module.output(torch.ones(1, 3)).shape == (1, 5)
