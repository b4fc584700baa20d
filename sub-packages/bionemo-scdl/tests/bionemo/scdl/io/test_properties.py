# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Every way to read an archive gives what SciPy gives, for random matrices of all kinds."""

import contextlib
import itertools
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
from bionemo.scdl.sampling.block_shuffle import BlockShuffleSampler
from bionemo.scdl.sampling.prefetch_loader import PrefetchLoader
from bionemo.scdl.util.collate import CsrCollate, DenseCollate, PaddedPairsCollate
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


@contextlib.contextmanager
def scratch_folder():
    """A folder in memory where the system has one: every example syncs dozens of files."""
    in_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as folder:
        yield Path(folder)


def write_csr(path, values, columns, pointers, num_genes, genes=None):
    """An h5ad file with exactly these parts; anndata would sort and sum them."""
    import anndata
    import pandas as pd

    num_cells = len(pointers) - 1
    obs = pd.DataFrame({"n": np.arange(num_cells)}, index=[f"c{i}" for i in range(num_cells)])
    var = pd.DataFrame(index=genes or [f"g{i}" for i in range(num_genes)])
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
    with scratch_folder() as folder:
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
        for part in (slice(1, None), slice(None, None, -2)):
            assert [item.tolist() for item in dataset[part]] == [dataset[i].tolist() for i in range(num_cells)[part]]
        for chosen in (rows, list(range(num_cells))):
            batch = dataset.__getitems__(chosen)
            assert [item.tolist() for item in list(batch)] == [dataset[row].tolist() for row in chosen]
            fresh = dataset.__getitems__(chosen)
            np.testing.assert_array_equal(CsrCollate(num_genes)(fresh).to_dense().double(), summed[chosen])
            np.testing.assert_array_equal(DenseCollate(num_genes, dtype=torch.float64)(fresh), summed[chosen])
            pairs = PaddedPairsCollate()(fresh)
            for row, mask in enumerate(pairs["mask"]):
                listed = [pairs[name][row][mask].tolist() for name in ("values", "columns")]
                assert listed == dataset[chosen[row]].tolist()
            compact, listed = collate_sparse_matrix_batch(fresh), collate_sparse_matrix_batch(list(batch))
            assert compact.shape == listed.shape
            assert compact.values().tolist() == listed.values().tolist()
            assert compact.col_indices().tolist() == listed.col_indices().tolist()
        if num_cells:
            loader = DataLoader(dataset, batch_size=4, collate_fn=CsrCollate(num_genes))
            np.testing.assert_array_equal(torch.cat([item.to_dense() for item in loader]).double(), summed)
            np.testing.assert_array_equal(dataset.to_anndata().X.toarray(), summed)
            np.testing.assert_array_equal(dataset.to_anndata(rows[:1]).X.toarray(), summed[rows[:1]])
            sampler = BlockShuffleSampler(dataset, batch_size=2, block_size=2, pool_size=4, seed=index_seed)
            order = [row for position in range(len(sampler)) for row in sampler.global_batch(0, position)]
            dense = list(PrefetchLoader(dataset, sampler, DenseCollate(num_genes)))
            np.testing.assert_array_equal(torch.cat(dense), summed[order])
        dataset.cast_data_to_dtype("float64")
        dataset.concat(dataset, extend_copy_size=block)
        np.testing.assert_array_equal(dataset.data, np.tile(values, 2))
        np.testing.assert_array_equal(np.diff(dataset.row_index.astype(int)), np.tile(np.diff(pointers), 2))
        assert dataset.verify() == []


@given(
    tables=st.lists(st.lists(st.sampled_from("ABCDEF"), min_size=1, unique=True), min_size=2, max_size=3),
    genes=st.sampled_from(["union", "intersection"]),
    chunk=st.sampled_from([1, 2**20]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_one_gene_table_gives_what_reindexing_gives(tables, genes, chunk, seed):
    import pandas as pd

    rng = np.random.default_rng(seed)
    frames = [pd.DataFrame(rng.integers(0, 4, (rng.integers(1, 4), len(table))), columns=table) for table in tables]
    shared = set(tables[0]).intersection(*tables[1:])
    seen = dict.fromkeys(itertools.chain(*tables))
    kept = list(seen) if genes == "union" else [gene for gene in tables[0] if gene in shared]
    with scratch_folder() as folder:
        datasets = []
        for number, frame in enumerate(frames):
            matrix = sp.csr_matrix(frame.to_numpy(np.float32))
            path = folder / f"{number}.h5ad"
            write_csr(path, matrix.data, matrix.indices, matrix.indptr, frame.shape[1], list(frame.columns))
            datasets.append(SingleCellMemMapDataset(folder / str(number), h5ad_path=path, use_X_not_raw=True))
        datasets[0].concat(datasets[1:], genes=genes, extend_copy_size=chunk)
        merged = datasets[0].to_anndata()
        assert datasets[0].verify() == []
    assert merged.var_names.tolist() == kept
    expected = pd.concat([frame.reindex(columns=kept, fill_value=0) for frame in frames])
    np.testing.assert_array_equal(merged.X.toarray(), expected.to_numpy(np.float32))
