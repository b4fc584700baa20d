# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Damaged matrices of h5ad files are refused instead of read as other counts."""

import anndata
import h5py
import numpy as np
import pytest
from scipy import sparse

from bionemo.core.errors import FormatError
from bionemo.geneformer.data.count_sources import open_counts


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix])
def test_pointers_that_overflowed_are_refused(layout, tmp_path):
    dense = np.arange(12, dtype=np.float32).reshape(4, 3)
    path = tmp_path / "cells.h5ad"
    anndata.AnnData(layout(dense)).write_h5ad(path)
    found = open_counts(path).read(np.arange(4))
    assert (found.values.sum(), found.row_ptr.tolist()) == (66, [0, 2, 5, 8, 11])
    for position, wrong in ((1, -(2**31) + 5), (-1, 12)):
        with h5py.File(path, "r+") as file:
            right, file["X/indptr"][position] = file["X/indptr"][position], wrong
        with pytest.raises(FormatError, match=r"cells.h5ad: X: the index pointers do not fit the 11 values"):
            open_counts(path)
        with h5py.File(path, "r+") as file:
            file["X/indptr"][position] = right
