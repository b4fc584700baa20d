# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A wrong column number in an archive is an error on every path, before anything is computed with it."""

import numpy as np
import pytest
import scipy.sparse as sp

from bionemo.core.errors import FormatError
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


@pytest.fixture(params=[2**31 - 10, 300])
def damaged(request, make_archive, counts):
    """Row 2 of 4 names a column that does not exist, among 70,000 genes: column numbers of four bytes."""
    wide = np.zeros((4, 70_000), np.float32)
    wide[:, :5] = counts
    dataset = make_archive(sp.csr_matrix(wide))
    columns = np.fromfile(dataset.data_path / "col_ptr.npy", np.uint32)
    columns[int(dataset.row_index[2])] = 70_000 + request.param
    columns.tofile(dataset.data_path / "col_ptr.npy")
    return SingleCellMemMapDataset.open(dataset.data_path), 70_000 + request.param


@pytest.mark.parametrize(
    "read",
    [
        lambda dataset: dataset[2],
        lambda dataset: dataset[:],
        lambda dataset: dataset[[0, 2]],
        lambda dataset: dataset.get_row(-2),
        lambda dataset: dataset.get_row_padded(2),
        lambda dataset: dataset.get_row_column(2, 0),
        lambda dataset: dataset.to_anndata(),
    ],
    ids=["row", "slice", "list", "get_row", "padded", "column", "to_anndata"],
)
def test_on_every_path(damaged, read):
    dataset, column = damaged
    message = rf"a column number exceeds the gene table: row 2 has a value in column {column} of 70000\."
    for _ in range(2):  # the row does not count as checked after the first error
        with pytest.raises(FormatError, match=message):
            read(dataset)
    assert dataset[[0, 1, 3]].columns.max() == 3


def test_each_table_has_its_own_width(make_archive, counts):
    dataset = make_archive(sp.csr_matrix(counts[:, :2]), "narrow")
    with pytest.warns(UserWarning, match="different gene tables"):
        dataset.concat(make_archive(sp.csr_matrix(counts), "wide"))
    assert dataset[:].columns.max() == 4
    columns = np.fromfile(dataset.data_path / "col_ptr.npy", np.uint8)
    columns[0] = 4
    columns.tofile(dataset.data_path / "col_ptr.npy")
    with pytest.raises(FormatError, match=r"row 0 has a value in column 4 of 2\."):
        SingleCellMemMapDataset.open(dataset.data_path)[[5, 0]]
