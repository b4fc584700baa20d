# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Read ``obs``, ``var`` and other elements of h5ad files and zarr stores, as written by anndata from 0.6 on."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo.core.errors import FormatError


if TYPE_CHECKING:
    import pandas as pd


def read_frame(file: Any, key: str, path: Any) -> "pd.DataFrame":
    """Read a data frame.

    Args:
        file: Open h5ad file or zarr store.
        key: ``obs``, ``var``, ``raw/var``, or ``raw.var`` of anndata before 0.7.
        path: For messages.

    Raises:
        FormatError: There is no such frame, or it is damaged.
    """
    import pandas as pd

    if key not in file:
        raise FormatError(f"{path}: has no {key}. The file is no h5ad file, or damaged.")
    if hasattr(file[key], "dtype"):
        frame = _read_records(file, key)
    else:
        frame = read_element(file[key], f"{path}: {key}")
    if not isinstance(frame, pd.DataFrame):
        raise FormatError(f"{path}: {key} is a {type(frame).__name__}, expected a data frame.")
    return frame


def read_element(element: Any, name: str) -> Any:
    """Read a frame, sparse matrix or array by anndata's reader.

    Raises:
        FormatError: It cannot be read; the message begins with ``name``.
    """
    try:
        from anndata.io import read_elem
    except ImportError:  # anndata < 0.11
        from anndata.experimental import read_elem
    try:
        return read_elem(element)
    except Exception as error:  # anndata wraps what h5py, zarr and pandas raise
        reason = str(error).strip().partition("\n")[0]
        if type(error).__name__ == "IORegistryError":  # an encoding that this release does not know
            raise FormatError(
                f"{name}: is stored as anndata {version('anndata')}, which is installed, cannot read it ({reason}). "
                "If the file is whole, a newer release can. Run: pip install --upgrade anndata"
            ) from error
        raise FormatError(
            f"{name}: cannot be read ({type(error).__name__}: {reason}). The file is damaged."
        ) from error


def _read_records(file: Any, key: str) -> "pd.DataFrame":
    """Read a frame of anndata before 0.7: a table of records, whose categories lie in ``uns`` or ``raw.cat``."""
    import pandas as pd

    records = file[key][:]
    if not records.dtype.names:
        raise FormatError(f"{key} is an array of {records.dtype}, expected a table of records.")
    columns: dict[str, Any] = {}
    for name in records.dtype.names:
        values = records[name]
        categories = file.get(f"{'raw.cat' if key == 'raw.var' else 'uns'}/{name}_categories")
        if categories is not None:
            texts = _text(np.atleast_1d(categories[()]))
            columns[name] = pd.Categorical.from_codes(np.asarray(values, dtype=np.int64), texts)
        else:
            columns[name] = _text(values) if values.dtype.kind in "SO" else values
    index = columns.pop("index" if "index" in columns else next(iter(columns)))
    return pd.DataFrame(columns, index=[str(name) for name in index])


def _text(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8").astype(object)
    if values.dtype.kind == "O":
        return np.array([*(v.decode() if isinstance(v, bytes) else v for v in values.tolist()), None], object)[:-1]
    return values
