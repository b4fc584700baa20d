# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Converting a file of cells by genes into an archive, in blocks of rows."""

import contextlib
import json
import logging
import os
import resource
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import ConfigError, DataError, MissingFileError
from bionemo.core.files import atomic_directory, remove_leftovers
from bionemo.core.progress import progress_bar
from bionemo.scdl.counts.feature_types import ALL_FEATURES
from bionemo.scdl.counts.formats import open_store, size_and_time
from bionemo.scdl.counts.matrices import RowBlock
from bionemo.scdl.counts.source import AUTO, CountSource, choose_matrix, list_matrices
from bionemo.scdl.counts.stores import Store
from bionemo.scdl.index.feature_block import FeatureBlock
from bionemo.scdl.index.row_feature_index import ObservedFeatureIndex, VariableFeatureIndex
from bionemo.scdl.io.archive_writer import ArchiveWriter
from bionemo.scdl.io.casting import CastReport, cast_values
from bionemo.scdl.util.memmap_utils import smallest_uint_dtype


logger = logging.getLogger(__name__)

# What a block of values costs while it is read, converted and written, for the widest dtypes.
_BYTES_PER_ELEMENT = 64
_MAX_BLOCK_ELEMENTS = 2 * 2**20
_MIN_BLOCK_ELEMENTS = 2**16
_VALUES = "values"  # key of source.json
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
        find_counts: Whether to take what holds counts instead (``raw.X``, else ``X``, else the layer ``counts``), and
            to refuse every other value.
        feature_type: Columns to take where ``var`` has feature types, ``"all"`` for all.
        sum_duplicates: Whether values of one row and column are summed; otherwise each is stored as it stands.
        neighbor_key: Key of ``obsp`` with neighbors, None for none.
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
    find_counts: bool = False
    feature_type: str = ALL_FEATURES
    sum_duplicates: bool = False
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
    if not Path(h5ad_path).exists():
        raise MissingFileError(f"Error: could not find h5ad path {h5ad_path}")
    target = Path(archive_path)
    if target.parent.is_dir():
        remove_leftovers(target.parent)
    with contextlib.closing(open_store(Path(h5ad_path))) as store:
        matrix = _matrix_name(store, options)
        with atomic_directory(target, overwrite=overwrite) as folder:
            source = CountSource(store, matrix, options.feature_type, counts=options.find_counts, scratch=folder)
            return _write_archive(source, folder, options, h5ad_path)


def _write_archive(
    source: CountSource, folder: Path, options: ConversionOptions, h5ad_path: str | os.PathLike[str]
) -> CastReport:
    if source.report:
        logger.info(source.report)
    dtype = options.data_dtype or "float32"
    report = CastReport()
    col_dtype = smallest_uint_dtype(max(0, source.shape[1] - 1))
    with ArchiveWriter(folder, data_dtype=dtype, col_dtype=col_dtype) as writer:
        _write_matrix(source, writer, options, report, size_bytes=size_and_time(Path(h5ad_path))[0])
        if report.num_changed and options.on_loss == "error":
            raise DataError(f"{source.name} as {dtype}: {report.message('Full Dataset')}. Choose a wider dtype.")
        if options.neighbor_key is not None:
            neighbors = _read_neighbors(source, options.neighbor_key)
            if neighbors is not None:
                writer.set_neighbors(*neighbors)
        var_index, obs_index = VariableFeatureIndex(), ObservedFeatureIndex()
        var_index.append_features(
            len(source), FeatureBlock.from_frame(source.var, options.var_feature_index_name), str(h5ad_path)
        )
        obs_index.append_features(FeatureBlock.from_frame(source.obs, options.obs_feature_index_name), str(h5ad_path))
        record = source_record(h5ad_path, options) | {_VALUES: source.summary.kind}
        writer.finish(var_index, obs_index, source=record)
    return report


def source_record(h5ad_path: str | os.PathLike[str], options: ConversionOptions) -> dict[str, Any]:
    """What an archive remembers of its source: enough to tell whether converting again would give the same."""
    size_bytes, mtime_ns = size_and_time(Path(h5ad_path))
    settings = {name: value for name, value in asdict(options).items() if name not in _WITHOUT_EFFECT}
    return {
        "path": str(Path(h5ad_path).absolute()),
        "size_bytes": size_bytes,
        "mtime_ns": mtime_ns,
        "options": settings,
    }


def is_converted(h5ad_path: Path, archive_path: Path, options: ConversionOptions) -> bool:
    """Whether an archive was made from this file, unchanged since, with options that give the same."""
    recorded = _recorded_source(archive_path)
    recorded.pop(_VALUES, None)
    return bool(recorded == json.loads(json.dumps(source_record(h5ad_path, options))))


def recorded_values(archive_path: Path) -> str | None:
    """Return what an archive was found to hold: ``"counts"``, ``"other"`` (normalized, say), or None: not known."""
    kind = _recorded_source(archive_path).get(_VALUES)
    return kind if kind in ("counts", "other") else None


def refuse_mixed_values(kinds: Mapping[Path, str | None]) -> None:
    """Check that files hold either counts or other values.

    Raises:
        DataError: Some hold counts and some do not; the message names them.
    """
    found = {kind: [str(path) for path, of_path in kinds.items() if of_path == kind] for kind in ("counts", "other")}
    if all(found.values()):
        lists = {kind: ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "") for kind, paths in found.items()}
        raise DataError(
            f"{len(found['counts'])} files hold counts ({lists['counts']}) and {len(found['other'])} hold other "
            f"values ({lists['other']}); an archive holds one kind. Convert them into two archives."
        )


def look_at_values(h5ad_path: Path, options: ConversionOptions) -> str | None:
    """Return the kind of the values that would be converted, from a sample of them; see `recorded_values`."""
    with contextlib.closing(open_store(h5ad_path)) as store:
        return store.matrix(_matrix_name(store, options), None).sample().kind


def _recorded_source(archive_path: Path) -> dict[str, Any]:
    try:
        recorded = json.loads((archive_path / "source.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return recorded if isinstance(recorded, dict) else {}


def _matrix_name(store: Store, options: ConversionOptions) -> str:
    if options.find_counts:
        return choose_matrix(store, AUTO, advice="Name a layer (--layer), or take X as it is (--use-X-not-raw).")
    if options.layer is not None:
        if f"layers/{options.layer}" not in store.matrices:
            found = [key.removeprefix("layers/") for key in store.matrices if key.startswith("layers/")]
            raise DataError(f"{store.name}: no layer {options.layer!r}, found {found}.")
        return f"layers/{options.layer}"
    if options.use_x_not_raw:
        if "X" not in store.matrices:
            raise DataError(
                "This file does not have count data; set use_X_not_raw=False to use raw counts instead. "
                f"{store.name}: {list_matrices(store)}. Without --use-X-not-raw the converter finds the counts."
            )
        return "X"
    if "raw.X" not in store.matrices:
        raise DataError(
            "This file does not have raw count data; set use_X_not_raw=True to use normalized counts instead. "
            f"{store.name}: {list_matrices(store)}. find_counts=True takes the matrix that holds counts."
        )
    return "raw.X"


def _read_neighbors(source: CountSource, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    from scipy.sparse import issparse

    graph = source.graph(key)
    if graph is None:
        warnings.warn(
            f"Neighbor key '{key}' not found in AnnData.obsp. Neighbor loading skipped.", UserWarning, stacklevel=5
        )
        return None
    if not issparse(graph):
        raise DataError(f"Neighbor matrix for key '{key}' is not a sparse matrix.")
    graph = graph.tocsr()
    return graph.indptr, graph.indices, graph.data


def _write_matrix(
    source: CountSource,
    writer: ArchiveWriter,
    options: ConversionOptions,
    report: CastReport,
    *,
    size_bytes: int,
) -> None:
    """Copy the matrix and add up in ``report`` what its dtype changes."""
    is_paginated = size_bytes >= options.paginated_load_cutoff * 2**20
    window_rows = options.load_block_row_size if is_paginated else max(1, len(source))
    max_elements = _block_elements(options)
    window, pending, duplicates = 0, CastReport(), 0

    def warn_of(changes: CastReport, number: int) -> None:
        report.add(changes)
        if changes.num_changed and options.on_loss == "warn":
            first = number * window_rows
            prefix = f"Rows {first} to {first + window_rows - 1} of the dataset" if is_paginated else "Full Dataset"
            warnings.warn(changes.message(prefix), UserWarning, stacklevel=7)

    with progress_bar(total=len(source), unit="cell", description="Converting") as bar:
        for block in source.blocks(max_elements, window_rows):
            if block.first // window_rows != window:
                warn_of(pending, window)
                window, pending = block.first // window_rows, CastReport()
            block, num_duplicates = _without_duplicates(block, source.shape[1], keep=not options.sum_duplicates)
            duplicates += num_duplicates
            values, changes = cast_values(block.values, options.data_dtype or "float32", options.data_dtype_tolerance)
            pending.add(changes)
            writer.append(values, block.columns)
            writer.append_row_lengths(block.lengths)
            bar.update(len(block.lengths))
        warn_of(pending, window)
    if duplicates:
        what = "they are summed" if options.sum_duplicates else "each is stored; pass sum_duplicates=True to sum them"
        logger.warning("%s: %d values share row and column with another one; %s", source.name, duplicates, what)


def _without_duplicates(block: RowBlock, width: int, *, keep: bool) -> tuple[RowBlock, int]:
    """Sum values of one row and column at the place of the first, unless ``keep``; return their number too."""
    row_of = np.repeat(np.arange(block.lengths.size, dtype=np.int64), block.lengths)
    place = row_of * width + block.columns
    if place.size < 2 or (place[1:] > place[:-1]).all():  # columns ascend: the usual case
        return block, 0
    _, first, inverse = np.unique(place, return_index=True, return_inverse=True)
    num_duplicates = place.size - first.size
    if keep or not num_duplicates:
        return block, num_duplicates
    sums = np.zeros(first.size, dtype=np.float64 if block.values.dtype.kind == "f" else np.int64)
    np.add.at(sums, inverse, block.values)
    order = np.argsort(first)
    kept = first[order]
    lengths = np.bincount(row_of[kept], minlength=block.lengths.size)
    return RowBlock(block.first, lengths, sums[order], block.columns[kept]), num_duplicates


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
