# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from bionemo.core.errors import DataError
from bionemo.geneformer.embedding.pooling import GeneMeans, pool_cells
from bionemo.llm.data.packing import build_packed_batch


SPECIALS = [0, 1, 2, 3]
CELLS = [[2, 9, 8, 7, 3], [2, 5, 3], [2, 9, 5, 3]]
HIDDEN = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))


def batch_of(cells):
    tokens, lengths = np.concatenate(cells), np.array([len(cell) for cell in cells])
    return build_packed_batch(tokens, lengths, np.arange(len(cells)), max_tokens=16, pad_token_id=0)


def test_the_first_token_or_the_mean_of_the_genes():
    batch = batch_of(CELLS)
    first = pool_cells(HIDDEN, batch, "cls", special_ids=SPECIALS)
    assert torch.equal(first, HIDDEN[[0, 5, 8]])
    mean = pool_cells(HIDDEN, batch, "cell", special_ids=SPECIALS)
    expected = torch.stack([HIDDEN[1:4].mean(0), HIDDEN[6], HIDDEN[9:11].mean(0)])
    torch.testing.assert_close(mean, expected)
    assert (mean.dtype, mean.shape) == (torch.float32, (3, 6))


def test_the_old_mean_leaves_the_lowest_gene_out_unless_it_is_alone():
    old = pool_cells(HIDDEN, batch_of(CELLS), "cell", special_ids=SPECIALS, skip_last_gene=True)
    torch.testing.assert_close(old, torch.stack([HIDDEN[1:3].mean(0), HIDDEN[6], HIDDEN[9]]))
    without_frame = batch_of([[9, 8, 7], [5], [6, 4]])
    old = pool_cells(HIDDEN, without_frame, "cell", special_ids=SPECIALS, skip_last_gene=True)
    torch.testing.assert_close(old, torch.stack([HIDDEN[:2].mean(0), HIDDEN[3], HIDDEN[4]]))


def test_a_cell_without_genes_has_no_mean():
    with pytest.raises(DataError, match="A cell has no gene"):
        pool_cells(HIDDEN, batch_of([[2, 9, 3], [2, 3]]), "cell", special_ids=SPECIALS)


def test_genes_are_averaged_over_cells_and_packs():
    means = GeneMeans(12, 6, SPECIALS, torch.device("cpu"))
    means.add(HIDDEN, batch_of(CELLS))
    means.add(HIDDEN, batch_of([[2, 9, 3]]))
    genes, vectors, counts = means.means()
    assert genes.tolist() == [5, 7, 8, 9]
    assert counts.tolist() == [2, 1, 1, 3]
    expected = [HIDDEN[[6, 10]].mean(0), HIDDEN[3], HIDDEN[2], HIDDEN[[1, 9, 1]].mean(0)]
    torch.testing.assert_close(vectors, torch.stack(expected))
