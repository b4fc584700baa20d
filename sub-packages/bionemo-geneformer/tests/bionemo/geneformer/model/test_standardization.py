# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Standardized cells in training leave a plain head that predicts the same."""

import torch
from torch import nn

from bionemo.geneformer.model.standardization import StandardizedPooler


def cells_with_a_large_common_part(num_cells: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 4 + 0.02 * torch.randn(num_cells, 16, generator=generator)


def test_a_batch_is_standardized_in_training_and_training_cells_are_otherwise() -> None:
    pooler = StandardizedPooler(nn.Linear(16, 16))
    seen: list[torch.Tensor] = []
    pooler.dense.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    cells = cells_with_a_large_common_part(64)
    pooler.measure(cells)
    pooler(cells[:8])
    expected = (cells[:8] - cells[:8].mean(0)) / (cells[:8].var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(seen.pop(), expected, atol=1e-3, rtol=0)
    of_all = (cells - cells.mean(0)) / (cells.var(0, correction=0) + 1e-5).sqrt()
    pooler(cells[:1])  # one cell has no variance of its own
    torch.testing.assert_close(seen.pop(), of_all[:1], atol=1e-3, rtol=0)
    pooler.eval()(cells[:8])
    torch.testing.assert_close(seen.pop(), of_all[:8], atol=1e-3, rtol=0)


def test_the_dense_layer_takes_the_statistics_in() -> None:
    pooler = StandardizedPooler(nn.Linear(16, 16)).eval()
    cells = cells_with_a_large_common_part(64)
    pooler.measure(cells)
    with torch.no_grad():
        expected = pooler(cells)
        assert expected.std() > 0.1
        torch.testing.assert_close(pooler.absorb()(cells), expected, atol=1e-4, rtol=0)
