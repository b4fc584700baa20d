# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Many h5ad files as many archives in one folder, and from there as one archive."""

import json
import os
import shutil
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from bionemo.core.errors import EXIT_FAILED_RUN, BionemoError, DataError
from bionemo.core.files import write_text
from bionemo.core.progress import progress_bar
from bionemo.scdl.api.single_cell_row_dataset import SingleCellRowDatasetCore
from bionemo.scdl.counts.feature_types import ALL_FEATURES
from bionemo.scdl.counts.formats import find_data_files
from bionemo.scdl.index.row_feature_index import VariableFeatureIndex, package_version
from bionemo.scdl.io.conversion import (
    ConversionOptions,
    convert_h5ad,
    is_converted,
    look_at_values,
    recorded_values,
    refuse_mixed_values,
)
from bionemo.scdl.io.merge import has_unique_ids, merge_archives
from bionemo.scdl.io.single_cell_memmap_dataset import SingleCellMemMapDataset
from bionemo.scdl.util.async_worker_queue import AsyncWorkQueue


__all__ = ["FileConversionError", "FileNames", "SingleCellCollection"]

# What a spawned worker takes before it converts anything, in MB.
_WORKER_BASE_MB = 250


class FileNames(str, Enum):  # str() of a member is part of the contract
    """Names of the files of a collection."""

    VERSION = "version.json"
    METADATA = "metadata.json"
    FEATURES = "features"


class FileConversionError(BionemoError, RuntimeError):
    """One file of many could not be converted; its exit code is that of the cause."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED_RUN) -> None:
        super().__init__(message, exit_code)
        self.message, self.exit_code = message, exit_code

    def __str__(self) -> str:
        return self.message


class SingleCellCollection(SingleCellRowDatasetCore):
    """A folder of archives, one for each h5ad file."""

    def __init__(self, data_path: str | os.PathLike[str]) -> None:
        """Make the folder, with a ``version.json``."""
        self.data_path: Any = data_path
        self._version = package_version()
        self.metadata: dict[str, int] = {}
        self.fname_to_mmap: dict[Path, SingleCellMemMapDataset] = {}
        Path(data_path).mkdir(parents=True, exist_ok=True)
        write_text(Path(data_path) / FileNames.VERSION.value, json.dumps(self._version))

    def load_h5ad(
        self,
        h5ad_path: str | os.PathLike[str],
        paginated_load_cutoff: int = 10_000,
        load_block_row_size: int = 1_000_000,
        use_X_not_raw: bool = False,  # the established name
    ) -> None:
        """Convert one file into ``data_path/<stem>``; the arguments are those of ``SingleCellMemMapDataset``."""
        target = Path(self.data_path) / Path(h5ad_path).stem
        self.fname_to_mmap[target] = SingleCellMemMapDataset(
            target,
            h5ad_path=h5ad_path,
            paginated_load_cutoff=paginated_load_cutoff,
            load_block_row_size=load_block_row_size,
            use_X_not_raw=use_X_not_raw,
        )

    def load_h5ad_multi(
        self,
        directory_path: str | os.PathLike[str],
        max_workers: int = 5,
        use_processes: bool = False,
        data_dtype: str | None = None,
        paginated_load_cutoff: int = 10_000,
        load_block_row_size: int = 1_000_000,
        use_X_not_raw: bool = False,  # the established name
        *,
        on_loss: str = "warn",
        layer: str | None = None,
        max_memory_mb: int = 1_000,
        resume: bool = False,
        find_counts: bool = False,
        feature_type: str = ALL_FEATURES,
        sum_duplicates: bool = False,
    ) -> None:
        """Convert every h5ad file and zarr store below a folder, in sorted order, each into ``data_path/<stem>``.

        Files of the same name get the names of their folders in front.

        Args:
            directory_path: Where to look; may also be one file, zarr store, 10x ``.h5`` file or mtx folder.
            max_workers: Files converted at the same time, fewer where the memory bound demands it.
            use_processes: Processes instead of threads.
            data_dtype: Dtype of the values, float32 unless given.
            paginated_load_cutoff: As for ``SingleCellMemMapDataset``, like the other arguments not listed here.
            load_block_row_size: See there.
            use_X_not_raw: See there.
            on_loss: ``"warn"`` or ``"error"``.
            layer: Key of ``layers``.
            max_memory_mb: Bound of all workers together, in MB.
            find_counts: Whether to take from each file what holds counts: ``raw.X``, else ``X``, else the layer
                ``counts``; every other value is then refused.
            feature_type: Columns to take where ``var`` has feature types, for example ``"Gene Expression"``.
            sum_duplicates: Whether values of one row and column are summed.
            resume: Whether to keep archives that were made from the same, unchanged file with the same options.

        Raises:
            FileNotFoundError: There are no such files.
            RuntimeError: A file could not be converted; the archives of the others stay.
            DataError: Some files hold counts, others do not.
        """
        paths = find_data_files(Path(directory_path))
        workers = min(max_workers, len(paths))
        memory_mb = max_memory_mb
        if use_processes:
            workers = max(1, min(workers, (max_memory_mb - _WORKER_BASE_MB) // _WORKER_BASE_MB))
            memory_mb = max(1, (max_memory_mb - _WORKER_BASE_MB) // workers)
        options = ConversionOptions(
            data_dtype=data_dtype,
            on_loss=on_loss,
            use_x_not_raw=use_X_not_raw,
            layer=layer,
            find_counts=find_counts,
            feature_type=feature_type,
            sum_duplicates=sum_duplicates,
            paginated_load_cutoff=paginated_load_cutoff,
            load_block_row_size=load_block_row_size,
            max_memory_mb=memory_mb,
            num_sharing_memory=1 if use_processes else workers,
        )
        targets = [Path(self.data_path) / name for name in _archive_names(paths, Path(directory_path))]
        if (use_X_not_raw or layer is not None) and len(paths) > 1:
            refuse_mixed_values({path: look_at_values(path, options) for path in paths})
        self._convert_all(paths, targets, options, workers=workers, use_processes=use_processes, resume=resume)
        refuse_mixed_values(dict(zip(paths, map(recorded_values, targets), strict=True)))
        for target in targets:
            self.fname_to_mmap[target] = SingleCellMemMapDataset(target)

    def _convert_all(
        self,
        paths: Sequence[Path],
        targets: Sequence[Path],
        options: ConversionOptions,
        *,
        workers: int,
        use_processes: bool,
        resume: bool,
    ) -> None:
        queue = AsyncWorkQueue(max_workers=workers, use_processes=use_processes, import_main=False)
        todo = []
        for path, target in zip(paths, targets, strict=True):
            if resume and is_converted(path, target, options):
                continue
            if target.exists() and not resume:
                raise FileExistsError(f"{target}: exists already. Remove it, or pass resume=True to reuse it.")
            todo.append((path, queue.submit_task(convert_h5ad, path, target, options, overwrite=resume)))
        try:
            with progress_bar(todo, unit="file", description="Files") as bar:
                for path, task in bar:
                    cause = task.exception()
                    if cause is not None:
                        code = getattr(cause, "exit_code", EXIT_FAILED_RUN)
                        raise FileConversionError(f"Error in processing file {path}: {cause}", code) from cause
        finally:
            queue.executor.shutdown(wait=True, cancel_futures=True)

    def _datasets(self) -> list[SingleCellMemMapDataset]:
        return list(self.fname_to_mmap.values())

    def version(self) -> str:
        """Version of the installed package."""
        return self._version

    def number_of_rows(self) -> int:
        """Number of cells in all archives."""
        return sum(dataset.number_of_rows() for dataset in self._datasets())

    def number_nonzero_values(self) -> int:
        """Number of stored values in all archives."""
        return sum(dataset.number_nonzero_values() for dataset in self._datasets())

    def number_of_values(self) -> int:
        """Rows times columns of all archives."""
        return sum(dataset.number_of_values() for dataset in self._datasets())

    def number_of_variables(self) -> list[int]:
        """Number of columns of each block of rows with the same genes; ``[0]`` without archives."""
        merged = VariableFeatureIndex()
        for dataset in self._datasets():
            merged.concat(dataset.var_features())
        return merged.column_dims() or [0]

    def shape(self) -> tuple[int, list[int]]:
        """Number of rows, and number of columns of each block."""
        return self.number_of_rows(), self.number_of_variables()

    def flatten(
        self,
        output_path: str | os.PathLike[str],
        destroy_on_copy: bool = False,
        extend_copy_size: int = 10 * 1_024 * 1_024,
        *,
        genes: str = "ragged",
        gene_key: str | None = None,
        unique_ids: bool = False,
        sample_column: str | None = None,
    ) -> None:
        """Write all rows into one archive, in the order in which the files were loaded.

        Args:
            output_path: The new archive.
            destroy_on_copy: Whether to remove this collection's folder afterwards. Otherwise nothing of it changes.
            extend_copy_size: Stored values copied at a time.
            genes: ``"ragged"``: each file keeps its own columns. ``"union"``, ``"intersection"``: one gene table.
            gene_key: Feature that identifies a gene; the frame's index unless given.
            unique_ids: Whether cells get the name of their file in front where barcodes repeat.
            sample_column: Column of ``obs`` whose value every cell gets in front of its barcode.

        Raises:
            ValueError: There is nothing to flatten, or integer and float values would be mixed.
            FileExistsError: ``output_path`` exists.
        """
        datasets = self._datasets()
        if not datasets:
            raise DataError(f"{self.data_path}: the collection is empty. Load h5ad files first.")
        target = Path(output_path)
        if target.exists():
            raise FileExistsError(f"Output directory already exists: {target}")
        target.parent.mkdir(parents=True, exist_ok=True)
        source = Path(datasets[0].data_path)
        can_move = destroy_on_copy and len(datasets) == 1 and source.stat().st_dev == target.parent.stat().st_dev
        if can_move and sample_column is None and (not unique_ids or has_unique_ids(datasets[0])):
            source.rename(target)
        else:
            merge_archives(
                datasets,
                target,
                genes=genes,
                gene_key=gene_key,
                max_elements=extend_copy_size,
                unique_ids=unique_ids,
                sample_column=sample_column,
            )
        if destroy_on_copy:
            shutil.rmtree(self.data_path)
            self.fname_to_mmap = {}


def _archive_names(paths: Sequence[Path], root: Path) -> list[str]:
    """Stems, with the folders in front where two files have the same."""
    stems = [path.stem for path in paths]
    names = [
        stem if stems.count(stem) == 1 or path == root else "__".join(path.relative_to(root).with_suffix("").parts)
        for stem, path in zip(stems, paths, strict=True)
    ]
    taken: dict[str, int] = {}
    for position, name in enumerate(names):  # a stem may itself look like a joined name
        taken[name] = taken.get(name, 0) + 1
        names[position] = name if taken[name] == 1 else f"{name}__{taken[name]}"
    return names
