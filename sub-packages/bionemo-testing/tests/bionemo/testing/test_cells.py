# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from bionemo.testing.cells import make_cells


def test_counts_are_sparse_whole_numbers_of_the_asked_depth():
    cells = make_cells(300, 150, counts_per_cell=500)
    counts = cells.counts
    assert (counts.shape, counts.dtype, counts.format) == ((300, 150), np.float32, "csr")
    assert counts.has_sorted_indices
    assert counts.data.min() >= 1
    np.testing.assert_array_equal(counts.data, np.round(counts.data))
    assert counts.sum() / 300 == pytest.approx(500, rel=0.1)
    assert 0.2 < counts.nnz / (300 * 150) < 0.8
    assert len(set(cells.gene_ids)) == 150
    assert all(len(gene_id) == 15 for gene_id in cells.gene_ids)


def test_same_seed_same_cells():
    a, b, c = make_cells(20, seed=1), make_cells(20, seed=1), make_cells(20, seed=2)
    np.testing.assert_array_equal(a.counts.toarray(), b.counts.toarray())
    assert (a.counts != c.counts).nnz > 0


def test_the_type_of_a_cell_can_be_learnt():
    cells = make_cells(400, 100, num_types=4)
    logs = np.log1p(cells.counts.toarray() / cells.counts.sum(axis=1).A1[:, None] * 1e3)
    train, test = np.arange(400) < 200, np.arange(400) >= 200
    centres = np.stack([logs[train & (cells.cell_types == t)].mean(axis=0) for t in range(4)])
    nearest = ((logs[test][:, None] - centres[None]) ** 2).sum(axis=-1).argmin(axis=1)
    assert (nearest == cells.cell_types[test]).mean() > 0.95


def test_anndata_holds_the_same():
    pytest.importorskip("anndata")
    cells = make_cells(5, 7)
    adata = cells.to_anndata()
    np.testing.assert_array_equal(adata.X.toarray(), cells.counts.toarray())
    assert list(adata.var["feature_id"]) == cells.gene_ids
    assert list(adata.obs["cell_type"]) == [f"type{t}" for t in cells.cell_types]
