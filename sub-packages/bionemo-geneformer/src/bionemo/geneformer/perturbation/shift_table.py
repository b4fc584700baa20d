# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Measured shifts as columns: what is written of them, and what statistics read.

Letters: N rows (one for each edit of each cell), G distinct genes or groups of genes.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import FormatError, MissingFileError


if TYPE_CHECKING:
    import pyarrow as pa


SHIFTS_NAME = "shifts.parquet"
GENE_COSINES_NAME = "gene_cosines.parquet"
SEPARATOR = "+"
"""Between the names of genes that are perturbed together."""

Scope = Literal["all", "group", "pairs"]
SCOPE_KEY = b"bionemo.perturbation.scope"
ANCHOR_KEY = b"bionemo.perturbation.anchor"
LABEL_COLUMNS = ("gene", "gene_name", "token")


class GeneLabel(NamedTuple):
    """How a gene, or a group of genes joined by ``+``, is called.

    Attributes:
        gene: Ensembl id.
        gene_name: Symbol; the Ensembl id where there is none.
        token: Token id.
    """

    gene: str
    gene_name: str
    token: str


class ShiftTable(NamedTuple):
    """Shifts of many cells.

    Attributes:
        labels: [G] distinct perturbed genes, sorted by Ensembl id.
        gene_idx: [N] int64, place of each row's gene in ``labels``.
        cell_ids: [N] str.
        values: Column to [N] float64, for example ``cosine`` or ``shift_to_goal``.
        scope: Whether every gene was perturbed alone, one group, or pairs with an anchor.
        anchor: Ensembl id of the anchor of pairs.
    """

    labels: list[GeneLabel]
    gene_idx: NDArray[np.int64]
    cell_ids: NDArray[np.str_]
    values: dict[str, NDArray[np.float64]]
    scope: Scope
    anchor: str | None = None

    @property
    def num_detections(self) -> NDArray[np.int64]:
        """[G] int64, cells in which each gene was perturbed."""
        return np.bincount(self.gene_idx, minlength=len(self.labels))

    def means(self, column: str) -> NDArray[np.float64]:
        """[G] mean of a column for each gene."""
        sums = np.bincount(self.gene_idx, weights=self.values[column], minlength=len(self.labels))
        means: NDArray[np.float64] = sums / self.num_detections
        return means


def shifts_schema(columns: Iterable[str], scope: Scope, anchor: str | None) -> "pa.Schema":
    """Columns of a file of shifts: cell, gene, type and the values."""
    import pyarrow as pa

    names = ("cell_id", *LABEL_COLUMNS, "perturb_type")
    fields = [pa.field(name, pa.string()) for name in names]
    fields.append(pa.field("rank_shift", pa.int8()))
    fields += [pa.field(name, pa.float64()) for name in columns]
    metadata = {SCOPE_KEY: scope.encode(), **({} if anchor is None else {ANCHOR_KEY: anchor.encode()})}
    return pa.schema(fields, metadata=metadata)


def gene_cosines_schema() -> "pa.Schema":
    """Columns of a file of single genes' cosines: which cell, which gene was perturbed, which one is looked at."""
    import pyarrow as pa

    names = ("cell_id", "gene", "affected_gene", "affected_gene_name")
    return pa.schema([*(pa.field(name, pa.string()) for name in names), pa.field("cosine", pa.float32())])


def open_shifts(path: str | os.PathLike[str]) -> ShiftTable:
    """Read shifts.

    Args:
        path: A folder that ``perturb_geneformer`` wrote, or its file of shifts.

    Raises:
        MissingFileError: There is no such file.
        FormatError: It is no file of shifts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    path = path / SHIFTS_NAME if path.is_dir() else path
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Expected the results of perturb_geneformer.")
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise FormatError(f"{path}: no parquet file ({error}).") from error
    metadata = table.schema.metadata or {}
    if SCOPE_KEY not in metadata:
        raise FormatError(f"{path}: holds no shifts (columns {table.column_names}).")
    anchor = metadata.get(ANCHOR_KEY)
    return table_to_shifts(
        {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names},
        metadata[SCOPE_KEY].decode(),  # type: ignore[arg-type]  # written as a Scope
        None if anchor is None else anchor.decode(),
    )


def table_to_shifts(columns: Mapping[str, NDArray[Any]], scope: Scope, anchor: str | None) -> ShiftTable:
    """Group the columns of a file by gene."""
    genes, first_rows, gene_idx = np.unique(
        np.asarray(columns["gene"], dtype=str), return_index=True, return_inverse=True
    )
    labels = [
        GeneLabel(gene, str(columns["gene_name"][row]), str(columns["token"][row]))
        for gene, row in zip(genes.tolist(), first_rows, strict=True)
    ]
    values = {
        name: np.asarray(column, dtype=np.float64)
        for name, column in columns.items()
        if name not in ("cell_id", *LABEL_COLUMNS, "perturb_type", "rank_shift")
    }
    cell_ids = np.asarray(columns["cell_id"], dtype=str)
    return ShiftTable(labels, gene_idx.reshape(-1).astype(np.int64), cell_ids, values, scope, anchor)
