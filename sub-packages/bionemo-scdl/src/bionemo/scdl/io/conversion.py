# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Converting an h5ad file into an archive, in blocks of rows."""

import contextlib
import json
import os
import resource
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import ConfigError, DataError, FormatError, MissingFileError
from bionemo.core.files import atomic_directory, remove_leftovers
from bionemo.core.progress import progress_bar
from bionemo.scdl.index.feature_block import FeatureBlock
from bionemo.scdl.index.row_feature_index import ObservedFeatureIndex, VariableFeatureIndex
from bionemo.scdl.io.archive_writer import ArchiveWriter
from bionemo.scdl.io.casting import CastReport, cast_values
from bionemo.scdl.io.h5ad_matrix import CscMatrix, CsrMatrix, DenseMatrix, open_matrix
from bionemo.scdl.util.memmap_utils import smallest_uint_dtype


# What a block of values costs while it is read, converted and written, for the widest dtypes.
_BYTES_PER_ELEMENT = 64
_MAX_BLOCK_ELEMENTS = 2 * 2**20
_MIN_BLOCK_ELEMENTS = 2**16
# Options that leave a finished archive the same.
_WITHOUT_EFFECT = ("max_memory_mb", "num_sharing_memory", "on_loss", "paginated_load_cutoff", "load_block_row_size")


@dataclass(frozen=True, kw_only=True)
class ConversionOptions:
    """How an h5ad file becomes an archive; the fields are those of ``SingleCellMemMapDataset``.

    Attributes:
        data_dtype: Dtype of the values, float32 unless given.
        data_dtype_tolerance: Difference up to which a converted value counts as unchanged.
        on_loss: ``"warn"`` or ``"error"``.
        use_x_not_raw: Whether to take ``X`` instead of ``raw.X``.
        layer: Key of ``layers`` to take instead.
        neighbor_key: Key of ``obsp`` with neighbours, None for none.
        var_feature_index_name: Column for the names of a ``var`` without columns.
        obs_feature_index_name: Column for the names of an ``obs`` without columns.
        paginated_load_cutoff: Size in MiB from which losses are reported per block of rows.
        load_block_row_size: Rows of such a block.
        max_memory_mb: Bound for the process, in MB.
        num_sharing_memory: Conversions that run in this process at the same time.
    """

    data_dtype: str | None = None
    data_dtype_tolerance: float = 1e-08
    on_loss: str = "warn"
    use_x_not_raw: bool = False
    layer: str | None = None
    neighbor_key: str | None = None
    var_feature_index_name: str = "var_feature_id"
    obs_feature_index_name: str = "obs_feature_id"
    paginated_load_cutoff: int = 10_000
    load_block_row_size: int = 1_000_000
    max_memory_mb: int = 1_000
    num_sharing_memory: int = 1

    def __post_init__(self) -> None:
        if self.load_block_row_size < 1:
            raise ConfigError(f"load_block_row_size is {self.load_block_row_size}; it must be at least 1.")
        if self.max_memory_mb < 1:
            raise ConfigError(f"max_memory_mb is {self.max_memory_mb}; it must be at least 1.")


def convert_h5ad(
    h5ad_path: str | os.PathLike[str],
    archive_path: str | os.PathLike[str],
    options: ConversionOptions,
    *,
    overwrite: bool = False,
) -> CastReport:
    """Convert one file; the archive appears when it is complete, and nothing is left of a failed attempt.

    Args:
        h5ad_path: The file.
        archive_path: The archive's folder.
        options: What to convert and how.
        overwrite: Whether to replace an archive of that name.

    Returns:
        How many values the dtype changed.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: The matrix asked for is missing, damaged, or loses values and ``on_loss`` is ``"error"``.
    """
    if not Path(h5ad_path).is_file():
        raise MissingFileError(f"Error: could not find h5ad path {h5ad_path}")
    target = Path(archive_path)
    if target.parent.is_dir():
        remove_leftovers(target.parent)
    with _open_h5ad(h5ad_path) as file, atomic_directory(target, overwrite=overwrite) as folder:
        element, place, var = _choose_matrix(file, options)
        matrix = open_matrix(element, f"{h5ad_path}: {place}", folder)
        obs = _read_frame(file, "obs", h5ad_path)
        if matrix.shape != (len(obs), len(var)):
            raise FormatError(
                f"{h5ad_path}: {place} has shape {matrix.shape}, but there are {len(obs)} cells and {len(var)} genes."
            )
        dtype = options.data_dtype or "float32"
        report = CastReport()
        col_dtype = smallest_uint_dtype(max(0, matrix.shape[1] - 1))
        with ArchiveWriter(folder, data_dtype=dtype, col_dtype=col_dtype) as writer:
            _write_matrix(matrix, writer, options, report, size_bytes=Path(h5ad_path).stat().st_size)
            if report.num_changed and options.on_loss == "error":
                raise DataError(
                    f"{h5ad_path}: {place} as {dtype}: {report.message('Full Dataset')}. Choose a wider dtype."
                )
            if options.neighbor_key is not None:
                neighbors = _read_neighbors(file, options.neighbor_key)
                if neighbors is not None:
                    writer.set_neighbors(*neighbors)
            var_index, obs_index = VariableFeatureIndex(), ObservedFeatureIndex()
            var_index.append_features(
                matrix.shape[0], FeatureBlock.from_frame(var, options.var_feature_index_name), str(h5ad_path)
            )
            obs_index.append_features(FeatureBlock.from_frame(obs, options.obs_feature_index_name), str(h5ad_path))
            writer.finish(var_index, obs_index, source=source_record(h5ad_path, options))
    return report


def source_record(h5ad_path: str | os.PathLike[str], options: ConversionOptions) -> dict[str, Any]:
    """What an archive remembers of its source: enough to tell whether converting again would give the same."""
    stat = Path(h5ad_path).stat()
    settings = {name: value for name, value in asdict(options).items() if name not in _WITHOUT_EFFECT}
    return {
        "path": str(Path(h5ad_path).absolute()),
        "size_bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "options": settings,
    }


def is_converted(h5ad_path: Path, archive_path: Path, options: ConversionOptions) -> bool:
    """Whether an archive was made from this file, unchanged since, with options that give the same."""
    try:
        recorded = json.loads((archive_path / "source.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(recorded == json.loads(json.dumps(source_record(h5ad_path, options))))


@contextlib.contextmanager
def _open_h5ad(path: str | os.PathLike[str]) -> Iterator[Any]:
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read as an h5ad file ({error}).") from error
    with file:
        yield file


def _choose_matrix(file: Any, options: ConversionOptions) -> tuple[Any, str, Any]:
    """The matrix, where it is, and the frame that describes its columns."""
    path = file.filename
    if options.layer is not None:
        if "layers" not in file or options.layer not in file["layers"]:
            found = sorted(file["layers"]) if "layers" in file else []
            raise DataError(f"{path}: no layer {options.layer!r}, found {found}.")
        return file["layers"][options.layer], f"layers/{options.layer}", _read_frame(file, "var", path)
    if options.use_x_not_raw:
        if "X" not in file:
            raise DataError("This file does not have count data; set use_X_not_raw=False to use raw counts instead.")
        return file["X"], "X", _read_frame(file, "var", path)
    key, var_key = ("raw/X", "raw/var") if "raw" in file else ("raw.X", "raw.var")
    if key not in file:
        raise DataError(
            "This file does not have raw count data; set use_X_not_raw=True to use normalized counts instead."
        )
    var = _read_frame(file, "var", path)
    raw_var = _read_frame(file, var_key, path) if var_key in file else var
    # var is the richer description, but only where it is about the same genes in the same order.
    return file[key], key, var if var.index.equals(raw_var.index) else raw_var


def _read_frame(file: Any, key: str, path: Any) -> Any:
    import pandas as pd

    if key not in file:
        raise FormatError(f"{path}: has no {key}. The file is no h5ad file, or damaged.")
    if hasattr(file[key], "dtype"):  # a table of records, as before anndata 0.7
        return _read_old_frame(file, key)
    try:
        from anndata.io import read_elem
    except ImportError:  # anndata < 0.11
        from anndata.experimental import read_elem
    frame = read_elem(file[key])
    if not isinstance(frame, pd.DataFrame):
        raise FormatError(f"{path}: {key} is a {type(frame).__name__}, expected a data frame.")
    return frame


def _read_old_frame(file: Any, key: str) -> Any:
    import pandas as pd

    records = file[key][:]
    columns: dict[str, Any] = {}
    for name in records.dtype.names:
        values = records[name]
        columns[name] = np.char.decode(values, "utf-8").astype(object) if values.dtype.kind == "S" else values
        categories = file.get(f"uns/{name}_categories")
        if categories is not None:
            texts = [text.decode() if isinstance(text, bytes) else text for text in categories[:]]
            columns[name] = pd.Categorical.from_codes(np.asarray(values, dtype=np.int64), texts)
    index = columns.pop("index" if "index" in columns else next(iter(columns)))
    index = [text.decode() if isinstance(text, bytes) else str(text) for text in index]
    return pd.DataFrame(columns, index=index)


def _read_neighbors(file: Any, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    from scipy.sparse import issparse

    try:
        from anndata.io import read_elem
    except ImportError:  # anndata < 0.11
        from anndata.experimental import read_elem
    if "obsp" not in file or key not in file["obsp"]:
        warnings.warn(
            f"Neighbor key '{key}' not found in AnnData.obsp. Neighbor loading skipped.", UserWarning, stacklevel=5
        )
        return None
    graph = read_elem(file["obsp"][key])
    if not issparse(graph):
        raise DataError(f"Neighbor matrix for key '{key}' is not a sparse matrix.")
    graph = graph.tocsr()
    return graph.indptr, graph.indices, graph.data


def _write_matrix(
    matrix: CsrMatrix | CscMatrix | DenseMatrix,
    writer: ArchiveWriter,
    options: ConversionOptions,
    report: CastReport,
    *,
    size_bytes: int,
) -> None:
    """Copy the matrix and add up in ``report`` what its dtype changes."""
    is_paginated = size_bytes >= options.paginated_load_cutoff * 2**20
    window_rows = options.load_block_row_size if is_paginated else max(1, matrix.shape[0])
    max_elements = _block_elements(options)
    window, pending = 0, CastReport()

    def warn_of(changes: CastReport, number: int) -> None:
        report.add(changes)
        if changes.num_changed and options.on_loss == "warn":
            first = number * window_rows
            prefix = f"Rows {first} to {first + window_rows - 1} of the dataset" if is_paginated else "Full Dataset"
            warnings.warn(changes.message(prefix), UserWarning, stacklevel=7)

    with progress_bar(total=matrix.shape[0], unit="cell", description="Converting") as bar:
        for block in matrix.blocks(max_elements, window_rows):
            if block.first // window_rows != window:
                warn_of(pending, window)
                window, pending = block.first // window_rows, CastReport()
            values, changes = cast_values(block.values, options.data_dtype or "float32", options.data_dtype_tolerance)
            pending.add(changes)
            writer.append(values, block.columns)
            writer.append_row_lengths(block.lengths)
            bar.update(len(block.lengths))
        warn_of(pending, window)


def _block_elements(options: ConversionOptions) -> int:
    """Values per block, so that the process stays within its bound."""
    free = options.max_memory_mb * 1_000_000 - _resident_bytes()
    affordable = free // (2 * _BYTES_PER_ELEMENT * options.num_sharing_memory)
    return int(min(max(affordable, _MIN_BLOCK_ELEMENTS), _MAX_BLOCK_ELEMENTS))


def _resident_bytes() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGESIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
