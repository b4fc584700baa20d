# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Changing an archive as a whole: the new version is built beside the old one and takes its name in one step."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bionemo.core.errors import DataError
from bionemo.core.files import atomic_directory
from bionemo.scdl.io.archive_writer import RawArrayWriter, keep_other_files, write_about, write_checksums
from bionemo.scdl.io.casting import CastReport, cast_values
from bionemo.scdl.io.layout import NEIGHBOR_ARRAYS, read_items
from bionemo.scdl.util.scdl_constants import FileNames


if TYPE_CHECKING:
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


_CHUNK = 4 * 2**20


def save_archive(dataset: "SingleCellMemMapDataset") -> None:
    """Write header, metadata and indices anew beside the arrays as they are."""
    _rebuild(dataset, {})


def cast_archive(dataset: "SingleCellMemMapDataset", dtype: str, *, allow_loss: bool) -> None:
    """Store the values in another dtype.

    Raises:
        DataError: Values would change by more than the dataset's tolerance, and ``allow_loss`` is off.
    """
    _rebuild(dataset, {FileNames.DATA.value: dtype}, allow_loss=allow_loss)


def unsigned_dtype(dataset: "SingleCellMemMapDataset", name: str) -> str:
    """Dtype under which a header can record an array: signed integers of old archives become unsigned.

    Raises:
        DataError: There are negative integers.
    """
    dtype = np.dtype(dataset.dtypes[name])
    if dtype.kind != "i":
        return dtype.name
    chunks = (dataset.data[start : start + _CHUNK] for start in range(0, dataset.data.size, _CHUNK))
    if name == FileNames.DATA.value and any(int(chunk.min()) < 0 for chunk in chunks):
        raise DataError(
            f"{dataset.data_path}/{name}: holds negative integers, which an archive cannot record. "
            "Cast it first: cast_data_to_dtype('float64')."
        )
    return f"u{dtype.name}"


def _rebuild(dataset: "SingleCellMemMapDataset", casts: dict[str, str], *, allow_loss: bool = False) -> None:
    folder = Path(dataset.data_path)
    with atomic_directory(folder, overwrite=True) as new:
        checksums: dict[str, int] = {}
        dtypes = dataset.dtypes
        for name, dtype in casts.items():
            checksums[name] = _write_cast(dataset, new / name, dtype, allow_loss=allow_loss)
            dtypes = dtypes | {name: dtype}
        if FileNames.DATA.value not in casts:
            dtypes = dtypes | {FileNames.DATA.value: unsigned_dtype(dataset, FileNames.DATA.value)}
        for array in (dataset.data, dataset.row_index, dataset.col_index):
            if isinstance(array.base, np.memmap) and array.flags.writeable:
                array.base.flush()
        keep_other_files(folder, new)
        names = [FileNames.DATA, FileNames.ROWPTR, FileNames.COLPTR]
        names += [name for name in NEIGHBOR_ARRAYS if (new / name.value).is_file()]
        arrays = [
            (name, (new / name.value).stat().st_size // np.dtype(dtypes[name.value]).itemsize, dtypes[name.value])
            for name in names
        ]
        var_index, obs_index = dataset.var_features(), dataset.obs_features()
        for own in (FileNames.HEADER, FileNames.METADATA, FileNames.VERSION):
            (new / own.value).unlink(missing_ok=True)  # a link to the old file, which must not be written through
        write_about(new, arrays, var_index, obs_index, num_rows=var_index.number_of_rows())
        write_checksums(new, checksums)


def _write_cast(dataset: "SingleCellMemMapDataset", path: Path, dtype: str, *, allow_loss: bool) -> int:
    array, report = RawArrayWriter(path, dtype), CastReport()
    try:
        source, source_dtype = Path(dataset.data_path) / path.name, dataset.dtypes[path.name]
        for start in range(0, dataset.data.size, _CHUNK):
            values = read_items(source, source_dtype, start, min(start + _CHUNK, dataset.data.size))
            stored, changes = cast_values(values, dtype, dataset.data_dtype_tolerance)
            report.add(changes)
            array.append(stored)
    finally:
        array.close()
    if report.num_changed and not allow_loss:
        raise DataError(
            f"{report.message(f'{dataset.data_path} as {dtype}')}. Choose a wider dtype or pass allow_loss=True."
        )
    return array.crc32
