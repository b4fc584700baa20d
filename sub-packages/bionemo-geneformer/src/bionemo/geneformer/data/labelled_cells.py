# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cells of any source with the columns that say what they are.

Letters: C cells of the data.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.geneformer.data.cell_tokens import ArrowCells, CellTokens
from bionemo.geneformer.data.count_cells import CountCells
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.data.open_cells import CountReading, open_cells


ID_COLUMN = "cell_id"


class LabelledCells(NamedTuple):
    """Tokenised cells and what is known about them.

    Attributes:
        tokens: The cells.
        column: Name of a column to its [C] values; raises DataError for one that is not there.
        cell_ids: [C] str.
        name: For messages.
    """

    tokens: CellTokens
    column: Callable[[str], NDArray[Any]]
    cell_ids: NDArray[np.str_]
    name: str


def open_labelled_cells(
    path: Path, dictionaries: Dictionaries, reading: CountReading, *, id_column: str | None = None
) -> tuple[LabelledCells, NDArray[np.int64] | None]:
    """Open cells for a model.

    Args:
        path: Tokenised cells, an SCDL archive or an h5ad file.
        dictionaries: The model's.
        reading: How to read counts.
        id_column: Column of the cells' ids; None: the index of ``obs``, of tokenised cells the column ``cell_id`` or
            else their number.

    Returns:
        The cells, and those to use: None means all.

    Raises:
        DataError: The cells do not fit the model, or there is no such column.
    """
    opened = open_cells(path, dictionaries, reading)
    return label_cells(opened.cells, str(path), id_column=id_column), opened.subset


def label_cells(cells: CellTokens, name: str, *, id_column: str | None = None) -> LabelledCells:
    """Attach what the source of the cells knows about them."""
    if isinstance(cells, ArrowCells):
        if id_column is None and ID_COLUMN in cells.column_names:
            id_column = ID_COLUMN
        ids = np.arange(len(cells)) if id_column is None else cells.column(id_column)
        return LabelledCells(cells, cells.column, np.asarray(ids).astype(str), name)
    assert isinstance(cells, CountCells)
    obs = cells.source.obs()

    def column(key: str) -> NDArray[np.str_]:
        if key not in obs.columns:
            raise DataError(f"{name}: no obs column {key!r}, found {list(map(str, obs.columns))}.")
        return np.asarray(obs[key].astype(str))

    labels = np.asarray(obs.index.astype(str)) if id_column is None else column(id_column)
    return LabelledCells(cells, column, labels.astype(str), name)
