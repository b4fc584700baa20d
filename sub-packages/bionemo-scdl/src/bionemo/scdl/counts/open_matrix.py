# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Find out how a matrix is stored."""

from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import FormatError
from bionemo.scdl.counts.csc import CscMatrix
from bionemo.scdl.counts.matrices import CsrMatrix, DenseMatrix, Matrix


def open_matrix(element: Any, name: str, scratch_dir: Path | None = None) -> Matrix:
    """Find out how a matrix of an open file is stored.

    Args:
        element: A group or dataset of an open h5ad file or zarr store.
        name: File and place, for messages.
        scratch_dir: Where a CSC matrix may be sorted; the system's folder for temporary files unless given.

    Raises:
        FormatError: It is no matrix, or damaged.
    """
    if hasattr(element, "shape"):
        return DenseMatrix(element, name)
    encoding = element.attrs.get("encoding-type", element.attrs.get("h5sparse_format", ""))
    encoding = encoding.decode() if isinstance(encoding, bytes) else str(encoding)
    if encoding.startswith("csr"):
        return CsrMatrix(element, name)
    if encoding.startswith("csc"):
        return CscMatrix(element, name, scratch_dir)
    raise FormatError(f"{name}: is stored as {encoding!r}; expected a CSR, CSC or dense matrix.")


def matrix_in_memory(matrix: Any, name: str) -> Matrix:
    """Take a matrix of an AnnData object: NumPy, SciPy (any format), or backed by its file.

    Raises:
        FormatError: It is something else.
    """
    from scipy.sparse import issparse

    if issparse(matrix):
        rows = matrix.tocsr()
        return CsrMatrix({"data": rows.data, "indices": rows.indices, "indptr": rows.indptr}, name, rows.shape)
    if hasattr(matrix, "group"):  # a sparse matrix of anndata that is backed by its file
        return open_matrix(matrix.group, name)
    if len(getattr(matrix, "shape", ())) == 2:
        return DenseMatrix(matrix, name)
    raise FormatError(f"{name}: is a {type(matrix).__name__}, expected a dense or sparse matrix.")


def portable_matrix(matrix: Matrix) -> Matrix | None:
    """Return the matrix if it can go to another process, None if it reads an open file."""
    if isinstance(matrix, CscMatrix):
        return matrix.by_rows
    stored = matrix.dataset if isinstance(matrix, DenseMatrix) else getattr(matrix, "group", {}).get("data")
    return matrix if isinstance(stored, np.ndarray) else None
