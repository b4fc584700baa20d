# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Archives as AnnData objects."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bionemo.core.errors import DataError


if TYPE_CHECKING:
    import anndata
    import pandas as pd

    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


def to_anndata(dataset: "SingleCellMemMapDataset", rows: Sequence[int] | slice | None = None) -> "anndata.AnnData":
    """Read an archive, or some of its rows, into memory.

    Args:
        dataset: The archive; all its rows must have the same genes.
        rows: Row numbers or a slice; all rows unless given.

    Returns:
        ``X`` as CSR in the stored dtype (float16 as float32), ``obs`` and ``var`` with index and categories where the
        archive knows them.

    Raises:
        DataError: The rows have different gene tables.
    """
    import anndata
    from scipy.sparse import csr_matrix

    index = dataset.var_features()
    if len(index) > 1:
        raise DataError(
            f"{dataset.data_path}: {len(index)} different gene tables, but an AnnData has one. "
            "Merge with genes='union' first."
        )
    rows = slice(None) if rows is None else rows
    batch = dataset[rows]
    width = index.column_dims()[0] if len(index) else 0
    # SciPy does not compute with half precision.
    values = batch.values.astype(np.float32) if batch.values.dtype == np.float16 else batch.values
    matrix = csr_matrix((values, batch.columns, batch.row_ptr), shape=(len(batch), width))
    obs = dataset.obs_frame().iloc[rows if isinstance(rows, slice) else np.asarray(rows)].copy()
    var = dataset.var_frame() if len(index) else None
    for frame in (obs, var):
        if frame is not None:
            frame.index = _as_objects(frame.index.map(str))
            _make_writable(frame)
    return anndata.AnnData(matrix, obs=obs, var=var)


def _make_writable(frame: "pd.DataFrame") -> None:
    """Give columns dtypes that anndata writes: no objects of several types, no text with missing values."""
    import pandas as pd

    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype) and isinstance(column.cat.categories.dtype, pd.StringDtype):
            frame[name] = column.cat.rename_categories(_as_objects(column.cat.categories))
        if not (column.dtype == object or isinstance(column.dtype, pd.StringDtype)):
            continue
        kind, is_missing = pd.api.types.infer_dtype(column, skipna=True), column.isna()
        if kind in ("integer", "boolean"):
            frame[name] = column.astype("Int64" if kind == "integer" else "boolean")
        elif kind in ("floating", "mixed-integer-float", "decimal"):
            frame[name] = column.astype(np.float64)
        else:
            text = column.astype(object).map(str).astype(object).where(~is_missing, None)
            if is_missing.any():
                text = pd.Categorical(text, categories=_as_objects(sorted(set(text[~is_missing]))))
            frame[name] = text


def _as_objects(texts: "Iterable[str]") -> "pd.Index":
    """Return text of Python's type: that of pandas 3 is not written by releases of anndata before 0.13."""
    import pandas as pd

    return pd.Index(list(texts), dtype=object)
