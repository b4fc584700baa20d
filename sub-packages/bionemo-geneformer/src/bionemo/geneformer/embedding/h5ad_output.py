# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Embeddings as an AnnData file: ``obs`` of the cells, and an ``obsm`` entry for each kind of embedding.

Letters: C cells of the data, n embedded ones, H hidden.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bionemo.core.files import move_into_place
from bionemo.geneformer.data.open_cells import Cells
from bionemo.geneformer.embedding.results_table import embedding_kinds, read_embeddings


if TYPE_CHECKING:
    import pandas as pd


H5AD_NAME = "cells.h5ad"
EMBEDDING_KEY = "X_geneformer"


def write_h5ad(folder: Path, cells: Cells, indices: NDArray[np.int64]) -> None:
    """Write ``cells.h5ad`` from the embeddings in a folder, atomically.

    Args:
        folder: Holds the joined table of embeddings, n rows.
        cells: All C cells with their metadata.
        indices: [n] int64, the cells that were embedded, in the order of the table.
    """
    import anndata
    import pandas as pd

    obs = writable_obs(cells.obs.iloc[indices], without=cells.id_column)
    obs.index = pd.Index(cells.ids[indices].astype(object), dtype=object)
    adata = anndata.AnnData(obs=obs)
    kinds = embedding_kinds(folder)
    for kind in kinds:
        key = EMBEDDING_KEY if len(kinds) == 1 else f"{EMBEDDING_KEY}_{kind}"
        adata.obsm[key] = read_embeddings(folder, kind)[1]
    unfinished = folder / f"unfinished-{H5AD_NAME}"
    adata.write_h5ad(unfinished)
    move_into_place(unfinished, folder / H5AD_NAME)


def writable_obs(frame: "pd.DataFrame", *, without: str | None = None) -> "pd.DataFrame":
    """Convert metadata to types that every release of anndata writes.

    Numbers and truth values keep their type, integers with missing values become float64 (NaN); everything else
    becomes categories of text.

    Args:
        frame: Any columns: text with missing values, mixtures, dates, nullable and Arrow types.
        without: Column to leave out.

    Returns:
        A new frame of as many rows with a new index.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"age": [1, 2], "donor": ["A", None], "mixed": ["x", 3]})
    >>> writable_obs(frame).dtypes.astype(str).tolist()
    ['int64', 'category', 'category']
    """
    import pandas as pd

    names = [name for name in frame.columns if name != without]
    return pd.DataFrame({str(name): _writable(frame[name]) for name in names}, index=range(len(frame)))


def _writable(column: "pd.Series[object]") -> "NDArray[np.generic] | pd.Categorical":
    import pandas as pd

    kind = getattr(column.dtype, "kind", "O")
    if kind in "biuf":
        if not column.isna().any():
            return column.to_numpy(dtype=getattr(column.dtype, "numpy_dtype", column.dtype))
        if kind != "b":
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
    codes, names = pd.factorize(column)
    texts = np.array([*map(str, names), ""], dtype=object)[codes]
    texts[codes < 0] = None
    # Categories of Python's text: that of pandas 3 is not written by releases of anndata before 0.13.
    return pd.Categorical(texts, categories=pd.Index(sorted({*map(str, names)}), dtype=object))
