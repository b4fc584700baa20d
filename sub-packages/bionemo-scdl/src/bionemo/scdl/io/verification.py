# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Reading a whole archive to see whether it is sound, and describing one."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo.core.errors import BionemoError
from bionemo.scdl.io.archive_writer import CHECKSUMS, file_crc32
from bionemo.scdl.io.layout import NEIGHBOR_ARRAYS, check_row_pointers, map_array
from bionemo.scdl.util.scdl_constants import FileNames


if TYPE_CHECKING:
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


_CHUNK = 4 * 2**20


def verify_archive(folder: Path) -> list[str]:
    """Read every file of an archive.

    Checked are sizes and checksums (where the archive records them), the header against the files, the row pointers,
    every column number against the width of its row, and the neighbor graph.

    Returns:
        One line for each problem, naming the file; empty for a sound archive.
    """
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset

    problems = _checksum_problems(folder)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            dataset = SingleCellMemMapDataset.open(folder)
    except BionemoError as error:
        return [*problems, str(error)]
    # A ResourceWarning comes when the garbage collector runs, about whatever it finds: not about this archive.
    problems += [str(warning.message) for warning in caught if warning.category is not ResourceWarning]
    num_indexed = dataset.var_features().number_of_rows() if len(dataset.var_features()) else None
    row_path, row_dtype = folder / FileNames.ROWPTR.value, dataset.dtypes[FileNames.ROWPTR.value]
    pointer_problem = check_row_pointers(row_path, row_dtype, dataset.number_nonzero_values(), num_indexed)
    if pointer_problem is not None:
        return [*problems, pointer_problem]
    return problems + _column_problems(dataset) + _metadata_problems(dataset) + _neighbor_problems(dataset)


def describe_archive(dataset: "SingleCellMemMapDataset") -> dict[str, Any]:
    """Sizes, dtypes and features of an open archive, as plain values for people and for JSON."""
    folder = Path(dataset.data_path)
    num_rows, widths = len(dataset.row_index) - 1, dataset.number_of_variables()
    lengths = np.diff(dataset.row_index.astype(np.int64))
    obs_blocks = dataset.obs_features()._feature_arr
    neighbors = all((folder / name.value).is_file() for name in NEIGHBOR_ARRAYS)
    return {
        "path": str(dataset.data_path),
        "written_by": _recorded_version(folder),
        "schema_version": str(dataset.header.version) if dataset.header else None,
        "rows": num_rows,
        "genes": widths[0] if len(widths) == 1 else widths,
        "stored_values": dataset.number_nonzero_values(),
        "values_per_row": {
            "min": int(lengths.min()) if num_rows else 0,
            "mean": round(float(lengths.mean()), 1) if num_rows else 0.0,
            "max": int(lengths.max()) if num_rows else 0,
        },
        "sparsity": round(dataset.sparsity(), 4),
        "dtypes": {
            "values": dataset.dtypes[FileNames.DATA.value],
            "columns": dataset.dtypes[FileNames.COLPTR.value],
            "row_pointers": dataset.dtypes[FileNames.ROWPTR.value],
        },
        "size_bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "var_columns": sorted({name for block in dataset.var_features()._feature_arr for name in block}),
        "obs_columns": sorted({name for block in obs_blocks for name in block}),
        "has_cell_names": bool(obs_blocks) and all(block.details.index is not None for block in obs_blocks),
        "has_neighbors": neighbors,
        "has_checksums": (folder / CHECKSUMS).is_file(),
    }


def _recorded_version(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / FileNames.VERSION.value).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


def _checksum_problems(folder: Path) -> list[str]:
    path = folder / CHECKSUMS
    if not path.is_file():
        return []
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))["files"]
        entries = [(name, int(entry["size_bytes"]), str(entry["crc32"])) for name, entry in recorded.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [f"{path}: cannot be read ({error})."]
    problems = []
    for name, size_bytes, crc32 in entries:
        file = folder / name
        if not file.is_file():
            problems.append(f"{file}: missing.")
        elif file.stat().st_size != size_bytes:
            problems.append(f"{file}: {file.stat().st_size} bytes, {size_bytes} were written.")
        elif f"{file_crc32(file):08x}" != crc32:
            problems.append(f"{file}: the content differs from what was written (CRC-32).")
    return problems


def _column_problems(dataset: "SingleCellMemMapDataset") -> list[str]:
    index, first = dataset.var_features(), 0
    for width, num_rows in zip(index.column_dims(), index._rows_per_block(), strict=True):
        start, stop = int(dataset.row_index[first]), int(dataset.row_index[first + num_rows])
        for at in range(start, stop, _CHUNK):
            columns = dataset.col_index[at : min(stop, at + _CHUNK)]
            if columns.size and int(columns.max()) >= width:
                return [
                    f"{dataset.data_path}/{FileNames.COLPTR.value}: a value in column {int(columns.max())} "
                    f"of rows {first} to {first + num_rows - 1}, which have {width} genes."
                ]
        first += num_rows
    return []


def _metadata_problems(dataset: "SingleCellMemMapDataset") -> list[str]:
    recorded = dataset.metadata.get("num_rows")
    if recorded == len(dataset):
        return []
    return [f"{dataset.data_path}/{FileNames.METADATA.value}: num_rows is {recorded}, there are {len(dataset)} rows."]


def _neighbor_problems(dataset: "SingleCellMemMapDataset") -> list[str]:
    folder, names = Path(dataset.data_path), [name.value for name in NEIGHBOR_ARRAYS]
    if not all((folder / name).is_file() for name in names):
        return []
    indices, _, weights = (map_array(folder / name, dataset.dtypes[name]) for name in names)
    num_rows = len(dataset.row_index) - 1
    problem = check_row_pointers(folder / names[1], dataset.dtypes[names[1]], indices.size, num_rows)
    if problem is None and weights.size != indices.size:
        problem = f"{folder / names[2]}: {weights.size} weights for {indices.size} neighbors."
    if problem is None and indices.size and int(indices.max()) >= num_rows:
        problem = f"{folder / names[0]}: names row {int(indices.max())} of {num_rows}."
    return [] if problem is None else [problem]
