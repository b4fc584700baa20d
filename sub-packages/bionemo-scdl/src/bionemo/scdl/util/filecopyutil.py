# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Appending one raw array file to another."""

import os
from pathlib import Path

import numpy as np

from bionemo.core.errors import DataError
from bionemo.scdl.util.scdl_constants import FLOAT_ORDER, INT_ORDER


def extend_files(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    source_dtype: str,
    dest_dtype: str,
    elements_per_chunk: int = 10 * 1024 * 1024,
    delete_file2_on_complete: bool = False,
    offset: int = 0,
    add_value: int | None = None,
    allow_downscaling: bool = False,
) -> None:
    """Append the raw values of ``second`` to ``first``, converted on the way.

    Everything is checked before the first byte is written, and a write that fails (a full disk) puts ``first`` back to
    its old length. Values that the narrower dtype of a downscaling cannot hold are refused, not wrapped.

    Args:
        first: Raw file of ``dest_dtype`` values, extended in place.
        second: Raw file of ``source_dtype`` values.
        source_dtype: Dtype of ``second``.
        dest_dtype: Dtype of ``first``.
        elements_per_chunk: Values held in memory at a time.
        delete_file2_on_complete: Whether to remove ``second`` afterwards.
        offset: Byte of ``second`` to start at.
        add_value: Added to every value, computed in 64 bits.
        allow_downscaling: Whether ``dest_dtype`` may be narrower than ``source_dtype``.

    Raises:
        ValueError: The dtypes, the offset or the size of ``second`` do not fit, or a value does not fit
            ``dest_dtype``.
    """
    first, second = Path(first), Path(second)
    source, dest = np.dtype(source_dtype), np.dtype(dest_dtype)
    if offset < 0 or offset % source.itemsize:
        raise DataError(f"Offset {offset} must be non-negative and divisible by source dtype size {source.itemsize}")
    order = next((names for names in (INT_ORDER, FLOAT_ORDER) if {source.name, dest.name} <= set(names)), None)
    if order is None:
        raise DataError(
            f"Unsupported dtype conversion: {source_dtype} → {dest_dtype}. Only same-family upscaling allowed."
        )
    if order.index(dest.name) < order.index(source.name) and not allow_downscaling:
        raise DataError(f"Downscaling not allowed: {source_dtype} → {dest_dtype}.")
    size_bytes = second.stat().st_size - offset
    if size_bytes % source.itemsize:
        raise DataError(
            f"Source size minus offset ({size_bytes} bytes) not divisible by source dtype size ({source.itemsize})."
        )
    remaining = max(0, size_bytes // source.itemsize)
    old_size = first.stat().st_size
    with first.open("r+b") as target, second.open("rb") as reader:
        target.seek(old_size)
        reader.seek(offset)
        try:
            while remaining > 0:
                chunk = np.fromfile(reader, dtype=source, count=min(elements_per_chunk, remaining))
                remaining -= chunk.size
                target.write(_converted(chunk, dest, add_value, second).tobytes())
            target.flush()
        except BaseException:
            target.truncate(old_size)
            raise
    if delete_file2_on_complete:
        second.unlink()


def _converted(chunk: np.ndarray, dest: np.dtype, add_value: int | None, path: Path) -> np.ndarray:
    if add_value:
        chunk = chunk.astype(np.uint64 if chunk.dtype.kind == "u" else np.float64) + add_value
    with np.errstate(over="ignore", invalid="ignore"):
        converted = chunk.astype(dest, copy=False)
    if dest.kind == "u" and chunk.size and int(chunk.max()) > np.iinfo(dest).max:
        raise DataError(f"{path}: the value {int(chunk.max())} does not fit {dest.name}. Choose a wider dtype.")
    return converted
