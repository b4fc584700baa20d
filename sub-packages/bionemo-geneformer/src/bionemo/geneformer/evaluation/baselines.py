# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What needs no model: principal components and highly variable genes of log-normalized counts.

Letters: C cells, G genes.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.core.optional_deps import require
from bionemo.geneformer.data.counts import CountSource, check_counts


if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


EXTRA = "bionemo-geneformer[analysis]"
TARGET_SUM = 10_000.0


def log_normalized(source: CountSource, rows: NDArray[np.int64]) -> "csr_matrix":
    """``log(1 + count / total * 10,000)`` of some cells.

    Returns:
        [C, G] float32; the gene tables of a data set lie side by side.

    Raises:
        DataError: A value is no count, or a cell has none.
    """
    from scipy.sparse import csr_matrix

    counts = source.read(rows)
    check_counts(counts, rows, source.name, allow_fractions=True)
    width = sum(len(next(iter(table.values()))) for table in source.gene_tables)
    matrix = csr_matrix((counts.values.astype(np.float64), counts.columns, counts.row_ptr), (len(rows), width))
    totals = np.asarray(matrix.sum(axis=1)).ravel()
    if not totals.all():
        raise DataError(f"{source.name}: cell {int(rows[np.argmin(totals)])} has no counts. Leave empty cells out.")
    matrix.data = np.log1p(matrix.data / np.repeat(totals, np.diff(matrix.indptr)) * TARGET_SUM)
    return matrix.astype(np.float32)


def principal_components(matrix: "csr_matrix", num_components: int, *, seed: int) -> NDArray[np.float32]:
    """Project cells on the first principal components of their genes.

    Args:
        matrix: [C, G].
        num_components: As many as there are cells or genes at most.
        seed: Of the randomized solver, where one is used.

    Returns:
        [C, components].
    """
    decomposition: Any = require("sklearn.decomposition", extra=EXTRA)
    num_components = min(num_components, min(matrix.shape) - 1)
    # "arpack" takes the sparse matrix as it is and centers it on the way; it needs fewer components than columns.
    pca = decomposition.PCA(num_components, svd_solver="arpack", random_state=seed)
    components: NDArray[np.float32] = pca.fit_transform(matrix)
    return components


def variable_genes(matrix: "csr_matrix", num_genes: int) -> NDArray[np.float32]:
    """Values of the genes whose log-normalized counts vary most.

    Args:
        matrix: [C, G].
        num_genes: How many.

    Returns:
        [C, genes], genes in the order of the columns.
    """
    mean = np.asarray(matrix.mean(axis=0)).ravel()
    variance = np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel() - mean**2
    chosen = np.sort(np.argsort(-variance, kind="stable")[:num_genes])
    values: NDArray[np.float32] = matrix[:, chosen].toarray()
    return values
