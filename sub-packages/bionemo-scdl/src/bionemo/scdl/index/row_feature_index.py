# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which features belong to which rows.

Consecutive rows share a block of features. A block of a :class:`VariableFeatureIndex` describes columns (genes), the
same for all its rows; a block of an :class:`ObservedFeatureIndex` describes the rows themselves (cells), one entry
each.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np

from bionemo.core.errors import DataError, FormatError, MissingFileError
from bionemo.core.files import atomic_directory
from bionemo.scdl.index.feature_block import FeatureBlock, arrays_equal
from bionemo.scdl.index.labels import read_labels, write_labels
from bionemo.scdl.index.npy_file import read_npy


__all__ = ["ObservedFeatureIndex", "RowFeatureIndex", "VariableFeatureIndex", "are_dicts_equal", "package_version"]

Label = str | None


def package_version() -> str:
    """Version of the installed ``bionemo-scdl``."""
    try:
        return version("bionemo-scdl")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"


def are_dicts_equal(dict1: Mapping[str, np.ndarray], dict2: Mapping[str, np.ndarray]) -> bool:
    """Whether two dicts have the same keys and equal arrays; NaN equals NaN."""
    return set(dict1) == set(dict2) and all(
        arrays_equal(np.asarray(values), np.asarray(dict2[name])) for name, values in dict1.items()
    )


class RowFeatureIndex(ABC):
    """Blocks of features, each with a label, for consecutive ranges of rows."""

    def __init__(self) -> None:
        """Start without rows."""
        # Entry 0 is -1; entry i + 1 is the row at which block i ends.
        self._cumulative_sum_index: np.ndarray = np.array([-1])
        self._feature_arr: list[FeatureBlock] = []
        self._labels: list[Label] = []
        self._num_entries_per_row: list[int] = []
        self._version = package_version()

    def __len__(self) -> int:
        return len(self._feature_arr)

    def version(self) -> str:
        """Version of the package that made the index."""
        return self._version

    def number_of_rows(self) -> int:
        """Number of rows described."""
        return max(0, int(self._cumulative_sum_index[-1]))

    def column_dims(self) -> list[int]:
        """Number of features of each block."""
        return list(self._num_entries_per_row)

    def number_vars_at_row(self, row: int) -> int:
        """Number of features of a row."""
        return self._num_entries_per_row[self._get_dataset_id(row)]

    def number_of_values(self) -> list[int]:
        """Rows times features of each block; ``[0]`` without blocks."""
        if not self._feature_arr:
            return [0]
        return [rows * width for rows, width in zip(self._rows_per_block(), self._num_entries_per_row, strict=True)]

    @abstractmethod
    def append_features(self, *args: Any, **kwargs: Any) -> None:
        """Describe further rows."""

    @abstractmethod
    def concat(self, other_row_index: "RowFeatureIndex") -> "RowFeatureIndex":
        """Append all blocks of another index of the same class; returns this one."""

    def lookup(self, row: int, select_features: list[str] | None = None) -> tuple[list[Any], Label]:
        """Features of one row.

        Args:
            row: Row number, not negative.
            select_features: Names of the features wanted, in this order; all of them unless given.

        Returns:
            The features and the block's label: whole arrays for a variable index, one scalar each for an observed one.

        Raises:
            IndexError: There is no such row.
            ValueError: A feature is not present.
        """
        block_idx = self._get_dataset_id(row)
        block = self._feature_arr[block_idx]
        for name in select_features or []:
            if name not in block:
                raise DataError(f"Provided feature column {name} in select_features not present in dataset.")
        names = list(block) if select_features is None else select_features
        start = max(0, int(self._cumulative_sum_index[block_idx]))
        return [self._feature_of_row(block[name], row - start) for name in names], self._labels[block_idx]

    @staticmethod
    @abstractmethod
    def _feature_of_row(values: np.ndarray, row_in_block: int) -> Any:
        """What ``lookup`` returns of one column."""

    @staticmethod
    @abstractmethod
    def _width_of(block: FeatureBlock) -> int:
        """Number of features a row of the block has."""

    def _get_dataset_id(self, row: int) -> int:
        if row < 0:
            raise IndexError(f"Row index {row} is not valid. It must be non-negative.")
        if not self._feature_arr:
            raise IndexError("There are no features to lookup.")
        if row >= self.number_of_rows():
            raise IndexError(
                f"Row index {row} is larger than number of rows in FeatureIndex ({self.number_of_rows()})."
            )
        return int(np.searchsorted(self._cumulative_sum_index, row, side="right")) - 1

    def _rows_per_block(self) -> list[int]:
        ends = np.maximum(self._cumulative_sum_index, 0)
        return [int(rows) for rows in np.diff(ends)]

    def _append_block(self, block: FeatureBlock, label: Label, num_rows: int) -> None:
        self._feature_arr.append(block)
        self._labels.append(label)
        self._num_entries_per_row.append(self._width_of(block))
        self._cumulative_sum_index = np.append(self._cumulative_sum_index, self.number_of_rows() + num_rows)

    def _as_block(self, features: Any) -> FeatureBlock:
        if not isinstance(features, Mapping):
            raise TypeError(f"{type(self).__name__}.append_features expects a dict of arrays")
        return features if isinstance(features, FeatureBlock) else FeatureBlock(features)

    def _check_same_class(self, other: Any) -> None:
        if type(other) is not type(self):
            raise TypeError(f"Error: trying to concatenate something that's not a {type(self).__name__}.")

    def save(self, datapath: str | os.PathLike[str]) -> None:
        """Write the index into its own folder, replacing what was there in one step."""
        with atomic_directory(datapath, overwrite=True) as folder:
            self.write_files(folder)

    def write_files(self, folder: Path, *, for_old_readers: bool = False) -> list[str]:
        """Write the index's files into an empty folder.

        Args:
            folder: Where to; made if absent.
            for_old_readers: Also write the ``labels.npy`` that release 0.1.3 needs.

        Returns:
            The names that an archive's header lists.
        """
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "cumulative_sum_index.npy", self._cumulative_sum_index.astype(np.int64))
        np.save(folder / "version.npy", np.array(self._version))
        write_labels(folder, self._labels, for_old_readers=for_old_readers)
        names = _block_names(len(self))
        for block, (parquet_name, details_name) in zip(self._feature_arr, names, strict=True):
            block.write(folder / parquet_name, folder / details_name)
        return ["cumulative_sum_index.npy", "labels.json", "version.npy", *(parquet for parquet, _ in names)]

    @classmethod
    def _read(cls, datapath: str | os.PathLike[str], *, decode_pickled_labels: bool = False) -> Self:
        """Read an index folder; see :func:`read_labels` for the labels."""
        folder = Path(datapath)
        index = cls()
        sums = _load_array(folder / "cumulative_sum_index.npy")
        index._cumulative_sum_index = sums
        if sums.ndim != 1 or sums.dtype.kind not in "iu" or not sums.size or int(sums[0]) != -1:
            raise FormatError(f"{folder / 'cumulative_sum_index.npy'}: expected integers that start with -1.")
        if (np.diff(np.maximum(sums, 0)) < 0).any():
            raise FormatError(f"{folder / 'cumulative_sum_index.npy'}: the row counts fall. Convert again.")
        if (folder / "version.npy").exists():
            index._version = str(_load_array(folder / "version.npy"))
        for parquet_path, details_path in _block_paths(folder, sums.size - 1):
            block = FeatureBlock.read(parquet_path, details_path)
            index._feature_arr.append(block)
            index._num_entries_per_row.append(cls._width_of(block))
        index._labels = read_labels(folder, len(index), decode_pickled=decode_pickled_labels)
        if len(index._labels) != len(index):
            raise FormatError(f"{folder}: {len(index._labels)} labels for {len(index)} blocks. Convert again.")
        return index


class VariableFeatureIndex(RowFeatureIndex):
    """Features of the columns: all rows of a block have the same."""

    def append_features(self, n_obs: int, features: Mapping[str, np.ndarray], label: Label = None) -> None:
        """Describe ``n_obs`` further rows.

        Args:
            n_obs: Number of rows; 0 changes nothing.
            features: Name → one value per column. Features equal to the last block's only extend that block.
            label: Where the rows come from.

        Raises:
            TypeError: ``features`` is not a dict.
            ValueError: The arrays differ in length, or ``n_obs`` is negative.
        """
        block = self._as_block(features)
        if n_obs < 0:
            raise DataError(f"n_obs is {n_obs}; it must not be negative.")
        if n_obs == 0:
            return
        if self._feature_arr and self._feature_arr[-1].same_table(block):
            if self._feature_arr[-1].details.is_empty() and not block.details.is_empty():
                self._feature_arr[-1] = block
            self._cumulative_sum_index[-1] += n_obs
        else:
            self._append_block(block, label, n_obs)

    def concat(self, other_row_index: RowFeatureIndex) -> "VariableFeatureIndex":
        """Append all blocks of another variable index; returns this one."""
        self._check_same_class(other_row_index)
        blocks = zip(
            list(other_row_index._feature_arr),
            other_row_index._rows_per_block(),
            list(other_row_index._labels),
            strict=True,
        )
        for block, rows, label in blocks:
            self.append_features(rows, block, label)
        return self

    @staticmethod
    def load(datapath: str | os.PathLike[str]) -> "VariableFeatureIndex":
        """Read a saved index."""
        return VariableFeatureIndex._read(datapath)

    @staticmethod
    def _feature_of_row(values: np.ndarray, row_in_block: int) -> np.ndarray:
        return values

    @staticmethod
    def _width_of(block: FeatureBlock) -> int:
        return block.num_entries


class ObservedFeatureIndex(RowFeatureIndex):
    """Features of the rows themselves."""

    def append_features(self, features: Mapping[str, np.ndarray], label: Label = None) -> None:
        """Describe further rows.

        Args:
            features: Name → one value per row. The same names as in the last block extend that block.
            label: Where the rows come from.

        Raises:
            TypeError: ``features`` is not a dict.
            ValueError: The arrays differ in length.
        """
        block = self._as_block(features)
        if block.num_entries == 0:
            return
        if self._feature_arr and set(self._feature_arr[-1]) == set(block):
            self._feature_arr[-1] = self._feature_arr[-1].joined(block)
            self._cumulative_sum_index[-1] += block.num_entries
        else:
            self._append_block(block, label, block.num_entries)

    def concat(self, other_row_index: RowFeatureIndex) -> "ObservedFeatureIndex":
        """Append all blocks of another observed index; returns this one."""
        self._check_same_class(other_row_index)
        for block, label in zip(list(other_row_index._feature_arr), list(other_row_index._labels), strict=True):
            self.append_features(block, label)
        return self

    def __getitem__(self, idx: int | slice) -> tuple[list[Any], Any]:
        """Features of one row as :meth:`lookup` gives them, or of a slice.

        Returns:
            For a slice a list of dicts, one per run of rows of one block, and the list of their labels.
        """
        num_rows = self.number_of_rows()
        if isinstance(idx, int | np.integer) and not isinstance(idx, bool):
            row = int(idx)
            return self.lookup(row + num_rows if row < 0 else row)
        if not isinstance(idx, slice):
            raise TypeError("Index must be int or slice")
        rows = np.arange(*idx.indices(num_rows))
        blocks = np.searchsorted(self._cumulative_sum_index, rows, side="right") - 1
        runs = np.split(np.arange(rows.size), np.flatnonzero(np.diff(blocks)) + 1) if rows.size else []
        features, labels = [], []
        for run in runs:
            block_idx = int(blocks[run[0]])
            start = max(0, int(self._cumulative_sum_index[block_idx]))
            features.append(self._feature_arr[block_idx].take(rows[run] - start))
            labels.append(self._labels[block_idx])
        return features, labels

    @staticmethod
    def load(datapath: str | os.PathLike[str]) -> "ObservedFeatureIndex":
        """Read a saved index."""
        return ObservedFeatureIndex._read(datapath)

    @classmethod
    def _read(cls, datapath: str | os.PathLike[str], *, decode_pickled_labels: bool = False) -> Self:
        index = super()._read(datapath, decode_pickled_labels=decode_pickled_labels)
        for position, (block, rows) in enumerate(zip(index._feature_arr, index._rows_per_block(), strict=True)):
            if block.num_entries != rows:
                raise FormatError(
                    f"{datapath}: block {position} describes {block.num_entries} rows, "
                    f"cumulative_sum_index.npy says {rows}. Convert again."
                )
        return index

    @staticmethod
    def _feature_of_row(values: np.ndarray, row_in_block: int) -> Any:
        return values[row_in_block]

    @staticmethod
    def _width_of(block: FeatureBlock) -> int:
        return len(block)


def _block_names(num_blocks: int) -> list[tuple[str, str]]:
    digits = len(str(num_blocks))
    return [(f"dataframe_{i:0{digits}d}.parquet", f"frame_{i:0{digits}d}.arrow") for i in range(num_blocks)]


def _block_paths(folder: Path, num_blocks: int) -> list[tuple[Path, Path]]:
    """The tables of an index in order; files of an earlier, shorter index beside them are passed over."""
    expected = [(folder / parquet, folder / details) for parquet, details in _block_names(num_blocks)]
    if all(parquet.exists() for parquet, _ in expected):
        return expected
    found = sorted(folder.glob("dataframe_*.parquet"))
    if len(found) != num_blocks:
        raise FormatError(f"{folder}: {len(found)} feature tables for {num_blocks} blocks. Convert again.")
    return [(path, path.with_name(path.stem.replace("dataframe_", "frame_") + ".arrow")) for path in found]


def _load_array(path: Path) -> np.ndarray:
    if not path.exists():
        raise MissingFileError(f"{path}: not found. The feature index is incomplete; convert the archive again.")
    try:
        return read_npy(path)
    except (ValueError, EOFError, OSError) as error:
        raise FormatError(f"{path}: is no array file ({error}). Convert the archive again.") from error
