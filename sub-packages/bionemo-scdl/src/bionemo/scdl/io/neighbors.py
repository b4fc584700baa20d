# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Neighbors of cells: a graph over the rows of an archive, in CSR form."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import DataError, FormatError
from bionemo.scdl.io.layout import NEIGHBOR_ARRAYS, map_array
from bionemo.scdl.util.scdl_constants import NeighborSamplingStrategy


def open_neighbors(
    folder: Path, dtypes: dict[str, str], *, writable: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Map the neighbor arrays of an archive.

    Returns:
        Pointers, indices and weights; None, with a UserWarning, if the archive has none.

    Raises:
        FormatError: The three files do not fit together.
    """
    names = [name.value for name in NEIGHBOR_ARRAYS]
    if not all((folder / name).is_file() for name in names):
        warnings.warn("Neighbor loading was requested but neighbor files are missing", UserWarning, stacklevel=4)
        return None
    indices, indptr, weights = (map_array(folder / name, dtypes[name], writable=writable) for name in names)
    if not indptr.size or int(indptr[0]) != 0 or int(indptr[-1]) != indices.size or indices.size != weights.size:
        raise FormatError(f"{folder}: the neighbor files do not fit together. Convert the archive again.")
    return indptr, indices, weights


class NeighborAccess:
    """The neighbor methods of a dataset; they read the arrays that the dataset maps."""

    load_neighbors: bool
    neighbor_sampling_strategy: NeighborSamplingStrategy
    fallback_to_identity: bool
    _has_neighbors: bool
    _neighbor_indptr: np.ndarray
    _neighbor_indices: np.ndarray
    _neighbor_data: np.ndarray

    def _neighbor_range(self, cell_index: int) -> slice | None:
        """The cell's part of the arrays; None where neighbors are switched off."""
        if not self.load_neighbors:
            return None
        if not self._has_neighbors:
            raise DataError("Neighbor functionality was enabled but no neighbor data is available")
        num_cells = len(self._neighbor_indptr) - 1
        if not 0 <= cell_index < num_cells:
            raise IndexError(f"Cell index {cell_index} out of bounds for dataset with {num_cells} cells")
        return slice(int(self._neighbor_indptr[cell_index]), int(self._neighbor_indptr[cell_index + 1]))

    def get_neighbor_indices_for_cell(self, cell_index: int) -> np.ndarray:
        """Row numbers of a cell's neighbors; empty where neighbors are switched off."""
        part = self._neighbor_range(cell_index)
        return np.array([], dtype=int) if part is None else self._neighbor_indices[part]

    def get_neighbor_weights_for_cell(self, cell_index: int) -> np.ndarray:
        """Weights of a cell's neighbors; empty where neighbors are switched off."""
        part = self._neighbor_range(cell_index)
        return np.array([], dtype=float) if part is None else self._neighbor_data[part]

    def sample_neighbor_index(self, cell_index: int) -> int:
        """Row number of one neighbor, the cell itself where it has none.

        The strategy RANDOM draws from NumPy's global generator, so seeding that reproduces earlier releases.
        """
        part = self._neighbor_range(cell_index)
        if part is None:
            return cell_index
        neighbors = self._neighbor_indices[part]
        if not len(neighbors):
            if not self.fallback_to_identity:
                warnings.warn(f"Cell {cell_index} has no neighbors; it is used itself.", UserWarning, stacklevel=2)
            return cell_index
        if self.neighbor_sampling_strategy == NeighborSamplingStrategy.FIRST:
            return int(neighbors[0])
        return int(np.random.choice(neighbors))  # noqa: NPY002  # seeding the global generator is the contract

    def get_neighbor_stats(self) -> dict[str, Any]:
        """Number of connections, and of neighbors per cell."""
        if not self._has_neighbors:
            return {"has_neighbors": False}
        counts = np.diff(self._neighbor_indptr.astype(np.int64))
        return {
            "has_neighbors": True,
            "total_connections": int(counts.sum()),
            "min_neighbors_per_cell": int(counts.min()) if counts.size else 0,
            "max_neighbors_per_cell": int(counts.max()) if counts.size else 0,
            "avg_neighbors_per_cell": float(counts.mean()) if counts.size else 0.0,
            "cells_with_no_neighbors": int((counts == 0).sum()),
        }

    def get_row_with_neighbor(
        self: Any,
        index: int,
        return_var_features: bool = False,
        var_feature_names: list[str] | None = None,
        return_obs_features: bool = False,
        obs_feature_names: list[str] | None = None,
    ) -> dict[str, Any]:
        """A row and one of its neighbors, as ``get_row`` returns them."""
        wanted = (return_var_features, var_feature_names, return_obs_features, obs_feature_names)
        return self._with_neighbor(self.get_row, index, wanted)  # type: ignore[no-any-return]  # mixed into a dataset

    def get_row_padded_with_neighbor(
        self: Any,
        index: int,
        return_var_features: bool = False,
        var_feature_names: list[str] | None = None,
        return_obs_features: bool = False,
        obs_feature_names: list[str] | None = None,
    ) -> dict[str, Any]:
        """A row and one of its neighbors, as ``get_row_padded`` returns them."""
        wanted = (return_var_features, var_feature_names, return_obs_features, obs_feature_names)
        return self._with_neighbor(self.get_row_padded, index, wanted)  # type: ignore[no-any-return]  # as above

    def _with_neighbor(self, read: Any, index: int, wanted: tuple[Any, ...]) -> dict[str, Any]:
        if not (self.load_neighbors and self._has_neighbors):
            raise DataError(
                "Cannot include neighbor data: neighbor functionality is disabled or no neighbor data available"
            )
        cell, var_features, obs_features = read(index, *wanted)
        neighbor_index = self.sample_neighbor_index(index)
        neighbor, _, _ = read(neighbor_index)
        return {
            "current_cell": cell,
            "next_cell": neighbor,
            "current_cell_index": index,
            "next_cell_index": neighbor_index,
            "var_features": var_features,
            "obs_features": obs_features,
        }
