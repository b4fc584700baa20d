# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Putting the rows of several archives into one."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bionemo.core.errors import ConfigError, DataError
from bionemo.core.files import atomic_directory
from bionemo.core.progress import progress_bar
from bionemo.scdl.counts.cell_ids import unique_cell_ids
from bionemo.scdl.index.feature_block import FeatureBlock
from bionemo.scdl.index.row_feature_index import ObservedFeatureIndex, VariableFeatureIndex
from bionemo.scdl.io.archive_writer import ArchiveWriter, archive_files, keep_other_files
from bionemo.scdl.io.editing import unsigned_dtype
from bionemo.scdl.io.gene_tables import GENE_CHOICES, merge_genes
from bionemo.scdl.io.layout import NEIGHBOR_ARRAYS, map_array, read_items
from bionemo.scdl.io.row_chunks import row_chunks
from bionemo.scdl.util.memmap_utils import determine_dtype, smallest_uint_dtype
from bionemo.scdl.util.scdl_constants import FileNames


if TYPE_CHECKING:
    from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Rows:
    """Consecutive rows of one archive with one gene table, and where their columns go (None: stay)."""

    dataset: "SingleCellMemMapDataset"
    first: int
    last: int
    column_map: np.ndarray | None


def merge_archives(
    sources: "Sequence[SingleCellMemMapDataset]",
    target: Path,
    *,
    genes: str = "ragged",
    gene_key: str | None = None,
    max_elements: int = 10 * 2**20,
    unique_ids: bool = False,
    sample_column: str | None = None,
) -> None:
    """Write the rows of some archives, in order, into one; ``target`` may be one of them and is replaced in one step.

    Args:
        sources: Open archives.
        target: Folder of the result.
        genes: ``"ragged"``, ``"union"`` or ``"intersection"``, see :func:`merge_genes`.
        gene_key: Column that identifies a gene.
        max_elements: Stored values in memory at a time.
        unique_ids: Whether cells get the name of their archive in front where barcodes repeat.
        sample_column: Column of ``obs`` whose value every cell gets in front of its barcode.

    Raises:
        DataError: Integer and float values would be mixed, or an archive has no sample column.
        ConfigError: An unknown choice of genes, or fewer than one element at a time.
    """
    if max_elements < 1:
        raise ConfigError(f"extend_copy_size is {max_elements}; it must be at least 1.")
    if genes not in GENE_CHOICES:
        raise ConfigError(f"genes is {genes!r}; it must be one of {', '.join(map(repr, GENE_CHOICES))}.")
    data_dtype = _data_dtype(sources)
    parts, tables = _plan(sources, genes, gene_key)
    if genes == "ragged" or tables is None:
        col_dtype = determine_dtype([source.dtypes[FileNames.COLPTR.value] for source in sources])
    else:
        col_dtype = smallest_uint_dtype(max(0, tables.num_entries - 1))
    var_index, obs_index = VariableFeatureIndex(), ObservedFeatureIndex()
    for source in sources:
        if tables is None:
            var_index.concat(source.var_features())
        else:
            label = (source.var_features()._labels or [None])[0]
            var_index.append_features(len(source.row_index) - 1, tables, label)
    _concat_obs(obs_index, sources)
    if sample_column is not None:
        _add_samples(obs_index, sample_column)
    if unique_ids:
        _make_ids_unique(obs_index, sources)
    with atomic_directory(target, overwrite=True) as folder:
        with ArchiveWriter(folder, data_dtype=data_dtype, col_dtype=col_dtype) as writer:
            total = sum(part.last - part.first for part in parts)
            with progress_bar(total=total, unit="cell", description=f"Merging into {target.name}") as bar:
                for part in parts:
                    for num_rows in _copy(part, writer, max_elements):
                        bar.update(num_rows)
            neighbors = _merged_neighbors(sources)
            if neighbors is not None:
                writer.set_neighbors(*neighbors)
            writer.finish(var_index, obs_index)
        own = [Path(source.data_path) for source in sources if _is_same_folder(Path(source.data_path), target)]
        if own:  # keep what others put beside the archive's own files
            _keep_foreign_files(own[0], folder)


def _data_dtype(sources: "Sequence[SingleCellMemMapDataset]") -> str:
    dtypes = [unsigned_dtype(source, FileNames.DATA.value) for source in sources]
    try:
        return determine_dtype(dtypes)
    except DataError as error:
        raise DataError(
            f"Cannot merge datasets with a mix of int and float dtypes for data: {sorted(set(dtypes))}. "
            "Cast some of them with cast_data_to_dtype first."
        ) from error


def _plan(
    sources: "Sequence[SingleCellMemMapDataset]", genes: str, gene_key: str | None
) -> tuple[list[_Rows], FeatureBlock | None]:
    """The parts to copy, and the common gene table where columns are remapped."""
    parts: list[_Rows] = []
    blocks: list[FeatureBlock] = []
    for source in sources:
        first = 0
        index = source.var_features()
        for block, num_rows in zip(index._feature_arr, index._rows_per_block(), strict=True):
            parts.append(_Rows(source, first, first + num_rows, None))
            blocks.append(block)
            first += num_rows
        if not len(index):
            parts.append(_Rows(source, 0, len(source.row_index) - 1, None))
    distinct: list[FeatureBlock] = []
    kinds = []
    for block in blocks:
        kind = next((i for i, other in enumerate(distinct) if other.same_table(block)), len(distinct))
        if kind == len(distinct):
            distinct.append(block)
        kinds.append(kind)
    if len(distinct) < 2:
        return parts, None
    if genes == "ragged":
        warnings.warn(
            f"The rows have {len(distinct)} different gene tables; each keeps its own column numbers, so one batch "
            "may mix genes in a column. Pass genes='union' or genes='intersection' for one table.",
            UserWarning,
            stacklevel=5,
        )
        return parts, None
    merged = merge_genes(distinct, genes, gene_key)
    with_blocks = [part for part in parts if len(part.dataset.var_features())]
    if len(with_blocks) < len(parts):
        raise DataError("An archive without gene table cannot be matched with others. Convert it again.")
    maps = [merged.column_maps[kind] for kind in kinds]
    parts = [_Rows(p.dataset, p.first, p.last, column_map) for p, column_map in zip(parts, maps, strict=True)]
    return parts, merged.block


def _concat_obs(obs_index: ObservedFeatureIndex, sources: "Sequence[SingleCellMemMapDataset]") -> None:
    """Append the features of all rows; rows without any get an empty one where others have some, to stay in step."""
    is_any = any(source.obs_features().number_of_rows() for source in sources)
    for source in sources:
        obs_index.concat(source.obs_features())
        missing = len(source.row_index) - 1 - source.obs_features().number_of_rows()
        if is_any and missing and len(source.var_features()):
            obs_index.append_features({"obs_feature_id": np.array([None] * missing, dtype=object)})


def has_unique_ids(dataset: "SingleCellMemMapDataset") -> bool:
    """Whether no two cells of an archive have the same id; true where it knows none."""
    indices = [block.details.index for block in dataset.obs_features()._feature_arr]
    ids = [name for index in indices if index is not None for name in index.tolist()]
    return len(set(ids)) == len(ids)


def _add_samples(obs_index: ObservedFeatureIndex, column: str) -> None:
    for block in obs_index._feature_arr:
        if block.details.index is None or column not in block:
            raise DataError(f"sample_column (--sample-column) {column!r}: not every file has it, found {list(block)}.")
        samples = np.asarray(block[column]).tolist()
        ids = [f"{sample}:{barcode}" for sample, barcode in zip(samples, block.details.index.tolist(), strict=True)]
        block.details.index = np.array([*ids, None], dtype=object)[:-1]


def _make_ids_unique(obs_index: ObservedFeatureIndex, sources: "Sequence[SingleCellMemMapDataset]") -> None:
    details = [block.details for block in obs_index._feature_arr]
    if not details or any(each.index is None for each in details):
        return
    ends = np.cumsum([len(source.row_index) - 1 for source in sources])[:-1]
    barcodes = np.split(np.concatenate([each.index for each in details if each.index is not None]), ends)
    ids, num_repeated = unique_cell_ids(barcodes, [Path(source.data_path).name for source in sources])
    if not num_repeated:
        return
    logger.warning("%d cell ids occur more than once; the file's name and the row make them unique", num_repeated)
    starts = np.cumsum([0, *(len(each.index) for each in details if each.index is not None)])
    joined = np.concatenate(ids)
    for each, start, stop in zip(details, starts, starts[1:], strict=False):
        each.index = joined[start:stop]


def _copy(part: _Rows, writer: ArchiveWriter, max_elements: int) -> Iterator[int]:
    dataset, column_map = part.dataset, part.column_map
    folder, dtypes = Path(dataset.data_path), dataset.dtypes
    for rows in row_chunks(dataset.row_index, max_elements, part.first, part.last):
        pointers = dataset.row_index[rows.start : rows.stop + 1].astype(np.int64)
        lengths = np.diff(pointers)
        start, stop = int(pointers[0]), int(pointers[-1])
        # A row longer than the limit is copied in several steps where its columns stay; remapping takes it whole.
        step = max_elements if column_map is None else max(1, stop - start)
        for at in range(start, stop, step):
            values, columns = (
                read_items(folder / name.value, dtypes[name.value], at, min(stop, at + step))
                for name in (FileNames.DATA, FileNames.COLPTR)
            )
            if column_map is not None:
                columns = _remapped(columns, column_map, dataset)
                kept = columns >= 0
                if not kept.all():
                    row_of = np.repeat(np.arange(lengths.size), lengths)
                    lengths = np.bincount(row_of[kept], minlength=lengths.size)
                    values, columns = values[kept], columns[kept]
            writer.append(values, columns)
        writer.append_row_lengths(lengths)
        yield rows.stop - rows.start


def _remapped(columns: np.ndarray, column_map: np.ndarray, dataset: "SingleCellMemMapDataset") -> np.ndarray:
    if columns.size and int(columns.max()) >= column_map.size:
        raise DataError(
            f"{dataset.data_path}: a value in column {int(columns.max())}, but the gene table has {column_map.size} "
            "genes. Convert this archive again."
        )
    return np.asarray(column_map[columns])


def _merged_neighbors(
    sources: "Sequence[SingleCellMemMapDataset]",
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The neighbor graphs side by side; archives without one contribute cells without neighbors."""
    names = [name.value for name in NEIGHBOR_ARRAYS]
    have = [all((Path(source.data_path) / name).is_file() for name in names) for source in sources]
    if not any(have):
        return None
    pointers, indices, weights = [np.zeros(1, np.uint64)], [], []
    num_rows = num_edges = 0
    for source, has_neighbors in zip(sources, have, strict=True):
        rows = len(source.row_index) - 1
        if has_neighbors:
            arrays = [map_array(Path(source.data_path) / name, source.dtypes[name]) for name in names]
            indices.append(arrays[0].astype(np.uint64) + np.uint64(num_rows))
            pointers.append(arrays[1][1:] + np.uint64(num_edges))
            weights.append(arrays[2])
            num_edges += len(arrays[0])
        else:
            pointers.append(np.full(rows, num_edges, dtype=np.uint64))
        num_rows += rows
    if num_rows >= 2**32:
        raise DataError(f"{num_rows} rows: neighbor indices are 32-bit. Merge fewer archives.")
    return np.concatenate(pointers), np.concatenate(indices), np.concatenate(weights)


def _is_same_folder(a: Path, b: Path) -> bool:
    return a.exists() and b.exists() and a.samefile(b)


def _keep_foreign_files(source: Path, target: Path) -> None:
    known = {path.relative_to(source) for path in archive_files(source)}
    if any(path.is_file() and path.relative_to(source) not in known for path in source.rglob("*")):
        keep_other_files(source, target)
