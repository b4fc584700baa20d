# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from torch.utils.data import DataLoader

from bionemo.scdl.io.single_cell_memmap_dataset import NeighborSamplingStrategy, SingleCellMemMapDataset
from bionemo.scdl.util.torch_dataloader_utils import collate_neighbor_sparse_matrix_batch


GRAPH = sp.csr_matrix(np.array([[0, 0.5, 0.25, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 2, 0]]))


@pytest.fixture
def dataset(make_archive):
    return make_archive(obsp={"next_cell_ids": GRAPH.tocsc()}, options={"load_neighbors": True})


def test_neighbors_and_weights(dataset):
    assert dataset.get_neighbor_indices_for_cell(0).tolist() == [1, 2]
    assert dataset.get_neighbor_weights_for_cell(0).tolist() == [0.5, 0.25]
    assert dataset.get_neighbor_indices_for_cell(1).size == 0
    assert dataset.get_neighbor_stats() == {
        "has_neighbors": True,
        "total_connections": 4,
        "min_neighbors_per_cell": 0,
        "max_neighbors_per_cell": 2,
        "avg_neighbors_per_cell": 1.0,
        "cells_with_no_neighbors": 1,
    }
    dtypes = ("neighbor_indices.npy", "neighbor_indptr.npy", "neighbor_values.npy")
    assert [dataset.dtypes[name] for name in dtypes] == ["uint32", "uint64", "float32"]
    for bad in (-1, 4):
        with pytest.raises(IndexError, match=f"Cell index {bad} out of bounds for dataset with 4 cells"):
            dataset.get_neighbor_indices_for_cell(bad)


def test_sampling(dataset):
    np.random.seed(7)  # noqa: NPY002  # the global generator is the contract
    drawn = [dataset.sample_neighbor_index(0) for _ in range(20)]
    np.random.seed(7)  # noqa: NPY002  # as above
    assert drawn == [int(np.random.choice([1, 2])) for _ in range(20)]  # noqa: NPY002  # as above
    first = SingleCellMemMapDataset(
        dataset.data_path, load_neighbors=True, neighbor_sampling_strategy=NeighborSamplingStrategy.FIRST
    )
    assert {first.sample_neighbor_index(0) for _ in range(5)} == {1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert first.sample_neighbor_index(1) == 1
    strict = SingleCellMemMapDataset(dataset.data_path, load_neighbors=True, fallback_to_identity=False)
    with pytest.warns(UserWarning, match="Cell 1 has no neighbors"):
        assert strict.sample_neighbor_index(1) == 1


def test_rows_with_neighbors_use_the_overridable_choice(dataset, counts):
    dataset.sample_neighbor_index = lambda index: 3
    item = dataset.get_row_with_neighbor(2, True)
    assert item["current_cell"][0].tolist() == [1, 300]
    assert item["next_cell"][1].tolist() == [0, 2]
    assert (item["current_cell_index"], item["next_cell_index"]) == (2, 3)
    assert item["var_features"][0].tolist() == [f"gene{i}" for i in range(5)]
    assert item["obs_features"] is None
    padded = dataset.get_row_padded_with_neighbor(2)
    np.testing.assert_array_equal(padded["next_cell"], counts[3])
    loader = DataLoader(
        [dataset.get_row_with_neighbor(i) for i in range(4)], 4, collate_fn=collate_neighbor_sparse_matrix_batch
    )
    (batch,) = loader
    np.testing.assert_array_equal(batch["current_cells"].to_dense(), counts)
    assert batch["next_cell_indices"] == [3] * 4


def test_without_neighbors(make_archive):
    dataset = make_archive()
    assert dataset.get_neighbor_stats() == {"has_neighbors": False}
    assert dataset.sample_neighbor_index(2) == 2
    assert dataset.get_neighbor_indices_for_cell(0).size == dataset.get_neighbor_weights_for_cell(0).size == 0
    with pytest.raises(ValueError, match="Cannot include neighbor data: neighbor functionality is disabled or no"):
        dataset.get_row_with_neighbor(0)
    with pytest.warns(UserWarning, match="Neighbor loading was requested but neighbor files are missing"):
        opened = SingleCellMemMapDataset(dataset.data_path, load_neighbors=True)
    with pytest.raises(ValueError, match="Neighbor functionality was enabled but no neighbor data is available"):
        opened.sample_neighbor_index(0)


@pytest.mark.filterwarnings("ignore:Neighbor loading was requested")
def test_keys_that_hold_no_graph(make_archive):
    with pytest.warns(UserWarning, match=r"Neighbor key 'nope' not found in AnnData.obsp. Neighbor loading skipped."):
        make_archive(name="a", options={"load_neighbors": True, "neighbor_key": "nope"})
    with pytest.raises(ValueError, match="Neighbor matrix for key 'dense' is not a sparse matrix"):
        make_archive(
            name="b", obsp={"dense": GRAPH.toarray()}, options={"load_neighbors": True, "neighbor_key": "dense"}
        )


def test_files_that_do_not_fit_together_are_refused(dataset):
    (dataset.data_path / "neighbor_values.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="neighbor"):
        SingleCellMemMapDataset(dataset.data_path, load_neighbors=True)
