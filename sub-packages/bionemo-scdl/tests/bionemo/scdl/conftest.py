# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Small h5ad files and archives for the tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


COUNTS = np.array([[0, 7, 0, 2, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 300], [5, 0, 9, 0, 0]], dtype=np.float32)


@pytest.fixture
def counts() -> np.ndarray:
    """4 cells by 5 genes with an empty row and a value above 255."""
    return COUNTS.copy()


@pytest.fixture
def write_h5ad(tmp_path: Path) -> Callable[..., Path]:
    """Write a matrix as h5ad; raw.X and X are both the matrix unless told otherwise."""

    def write(
        matrix: Any,
        name: str = "cells.h5ad",
        *,
        obs: pd.DataFrame | None = None,
        var: pd.DataFrame | None = None,
        raw: bool = True,
        **parts: Any,
    ) -> Path:
        num_cells, num_genes = matrix.shape
        obs = pd.DataFrame(index=[f"cell{i}" for i in range(num_cells)]) if obs is None else obs
        var = pd.DataFrame(index=[f"gene{i}" for i in range(num_genes)]) if var is None else var
        adata = anndata.AnnData(matrix, obs=obs, var=var, **parts)
        if raw:
            adata.raw = adata.copy()
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        adata.write_h5ad(path)
        return path

    return write


@pytest.fixture
def make_archive(write_h5ad: Callable[..., Path], tmp_path: Path) -> Callable[..., SingleCellMemMapDataset]:
    """Convert a matrix into an archive."""

    def make(
        matrix: Any = None, name: str = "archive", *, options: dict[str, Any] | None = None, **h5ad: Any
    ) -> SingleCellMemMapDataset:
        matrix = sp.csr_matrix(COUNTS) if matrix is None else matrix
        path = write_h5ad(matrix, f"{name}.h5ad", **h5ad)
        return SingleCellMemMapDataset(tmp_path / name, h5ad_path=path, **(options or {}))

    return make
