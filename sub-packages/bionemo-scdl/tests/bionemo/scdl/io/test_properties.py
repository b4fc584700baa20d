# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Every way to read an archive gives what SciPy gives, for random matrices of all kinds."""

import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from bionemo.scdl.io import conversion
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.scdl.util.collate import CsrCollate, DenseCollate
from bionemo.scdl.util.torch_dataloader_utils import collate_sparse_matrix_batch


DTYPES = ["uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]


@st.composite
def matrices(draw):
    """CSR parts with empty rows, unsorted and duplicate columns; rows may be none or one.

    Values are at most 50, so that five in one column still add up within uint8.
    """
    num_genes = draw(st.sampled_from([1, 3, 256, 257]))
    rows = draw(
        st.lists(st.lists(st.tuples(st.integers(0, num_genes - 1), st.integers(0, 50)), max_size=5), max_size=6)
    )
    lengths = [len(row) for row in rows]
    columns = np.array([column for row in rows for column, _ in row], np.int32)
    values = np.array([value for row in rows for _, value in row], np.float64)
    return values, columns, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), num_genes


def write_csr(path, values, columns, pointers, num_genes):
    """An h5ad file with exactly these parts; anndata would sort and sum them."""
    import anndata
    import pandas as pd

    num_cells = len(pointers) - 1
    obs = pd.DataFrame({"n": np.arange(num_cells)}, index=[f"c{i}" for i in range(num_cells)])
    var = pd.DataFrame(index=[f"g{i}" for i in range(num_genes)])
    anndata.AnnData(obs=obs, var=var).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        group = file.create_group("X")
        group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (num_cells, num_genes)}
        )
        group["data"], group["indices"], group["indptr"] = values, columns, pointers


@given(
    parts=matrices(),
    dtype=st.sampled_from(DTYPES),
    block=st.sampled_from([1, 4, 2**20]),
    index_seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_all_access_paths_agree_with_scipy(parts, dtype, block, index_seed):
    values, columns, pointers, num_genes = parts
    num_cells = len(pointers) - 1
    in_memory = Path("/dev/shm")  # every example syncs dozens of files
    folder = Path(tempfile.mkdtemp(dir=in_memory if in_memory.is_dir() else None))
    try:
        write_csr(folder / "x.h5ad", *parts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(conversion, "_block_elements", lambda options: block)
            dataset = SingleCellMemMapDataset(
                folder / "a", h5ad_path=folder / "x.h5ad", use_X_not_raw=True, data_dtype=dtype
            )
        summed = sp.csr_matrix((values, columns, pointers), shape=(num_cells, num_genes)).toarray()
        assert len(dataset) == num_cells
        assert dataset.verify() == []
        for row in range(num_cells):
            stored = slice(pointers[row], pointers[row + 1])
            (got_values, got_columns), _, obs = dataset.get_row(row, return_obs_features=True)
            assert (got_values.tolist(), got_columns.tolist()) == (values[stored].tolist(), columns[stored].tolist())
            assert obs == [row]
            assert dataset[row - num_cells].tolist() == [values[stored].tolist(), columns[stored].tolist()]
            last = dict(zip(columns[stored].tolist(), values[stored].tolist(), strict=True))
            assert dataset.get_row_padded(row)[0].tolist() == [last.get(gene, 0.0) for gene in range(num_genes)]
            first = dict(zip(columns[stored][::-1].tolist(), values[stored][::-1].tolist(), strict=True))
            assert [dataset.get_row_column(row, gene) for gene in first] == list(first.values())
        rows = np.random.default_rng(index_seed).integers(-num_cells, num_cells, 7).tolist() if num_cells else []
        for chosen in (rows, list(range(num_cells))):
            batch = dataset.__getitems__(chosen)
            assert [item.tolist() for item in list(batch)] == [dataset[row].tolist() for row in chosen]
            fresh = dataset.__getitems__(chosen)
            np.testing.assert_array_equal(CsrCollate(num_genes)(fresh).to_dense().double(), summed[chosen])
            np.testing.assert_array_equal(DenseCollate(num_genes, dtype=torch.float64)(fresh), summed[chosen])
            compact, listed = collate_sparse_matrix_batch(fresh), collate_sparse_matrix_batch(list(batch))
            assert compact.shape == listed.shape
            assert compact.values().tolist() == listed.values().tolist()
            assert compact.col_indices().tolist() == listed.col_indices().tolist()
        if num_cells:
            loader = DataLoader(dataset, batch_size=4, collate_fn=CsrCollate(num_genes))
            np.testing.assert_array_equal(torch.cat([item.to_dense() for item in loader]).double(), summed)
            np.testing.assert_array_equal(dataset.to_anndata().X.toarray(), summed)
        dataset.cast_data_to_dtype("float64")
        dataset.concat(dataset, extend_copy_size=block)
        np.testing.assert_array_equal(dataset.data, np.tile(values, 2))
        np.testing.assert_array_equal(np.diff(dataset.row_index.astype(int)), np.tile(np.diff(pointers), 2))
        assert dataset.verify() == []
    finally:
        shutil.rmtree(folder)
