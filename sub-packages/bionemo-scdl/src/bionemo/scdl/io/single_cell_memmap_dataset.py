# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cells of an archive, read straight from memory-mapped files."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from bionemo.core.errors import ConfigError, DataError, DataFileError, FormatError, MissingFileError
from bionemo.core.files import atomic_directory, read_json
from bionemo.scdl.api.single_cell_row_dataset import SingleCellRowDataset
from bionemo.scdl.index.row_feature_index import ObservedFeatureIndex, VariableFeatureIndex, package_version
from bionemo.scdl.io.layout import DEFAULT_DTYPES, map_array, read_layout
from bionemo.scdl.io.neighbors import NeighborAccess, open_neighbors
from bionemo.scdl.io.row_access import RowAccess
from bionemo.scdl.util.scdl_constants import (
    DATA_DTYPES,
    FLOAT_ORDER,
    INT_ORDER,
    FileNames,
    Mode,
    NeighborSamplingStrategy,
)


if TYPE_CHECKING:
    import anndata
    import pandas as pd

    from bionemo.scdl.schema.header import SCDLHeader


__all__ = [
    "FLOAT_ORDER",
    "INT_ORDER",
    "FileNames",
    "Mode",
    "NeighborSamplingStrategy",
    "SingleCellMemMapDataset",
]

_DATA, _ROWPTR, _COLPTR = FileNames.DATA.value, FileNames.ROWPTR.value, FileNames.COLPTR.value


class SingleCellMemMapDataset(RowAccess, NeighborAccess, SingleCellRowDataset):
    """A sparse matrix of cells by genes on disk, with the features of both, as a torch dataset.

    A row is ``dataset[i]``: a ``[2, nnz]`` tensor of values and columns. A batch of rows, asked for by a list, a slice
    or a ``DataLoader``, is gathered in one step (:class:`~bionemo.scdl.io.row_batch.RowBatch`). Pickling a dataset
    pickles its path, so spawned loader workers share the mapped files.
    """

    def __init__(
        self,
        data_path: str | os.PathLike[str],
        h5ad_path: str | os.PathLike[str] | None = None,
        num_elements: int | None = None,
        num_rows: int | None = None,
        mode: Mode | str | None = None,
        paginated_load_cutoff: int = 10_000,
        load_block_row_size: int = 1_000_000,
        var_feature_index_name: str = "var_feature_id",
        obs_feature_index_name: str = "obs_feature_id",
        load_neighbors: bool = False,
        neighbor_key: str = "next_cell_ids",
        neighbor_sampling_strategy: NeighborSamplingStrategy | str = NeighborSamplingStrategy.RANDOM,
        fallback_to_identity: bool = True,
        data_dtype: str | None = None,
        data_dtype_tolerance: float = 1e-08,
        use_X_not_raw: bool = False,  # the established name
        *,
        on_loss: str = "warn",
        layer: str | None = None,
        find_counts: bool = False,
        feature_type: str = "all",
        sum_duplicates: bool = False,
        max_memory_mb: int = 1_000,
    ) -> None:
        """Open an archive, convert an h5ad file into one, or make an empty one to be filled.

        Args:
            data_path: The archive's folder.
            h5ad_path: File to convert; ``data_path`` must then not exist.
            num_elements: Stored values of an empty archive.
            num_rows: Rows of an empty archive.
            mode: ``"r"``: read only. ``"r+"``: the mapped arrays may be edited. Unless given, the archive is mapped
                read-only and changed by ``save``, ``cast_data_to_dtype`` and ``concat`` alone.
            paginated_load_cutoff: Size in MiB from which an h5ad file counts as large: losses are then reported per
                block of ``load_block_row_size`` rows. Memory is bounded for every size.
            load_block_row_size: Rows per reported block of a large file.
            var_feature_index_name: Column for the gene names of a ``var`` without columns.
            obs_feature_index_name: Column for the cell names of an ``obs`` without columns.
            load_neighbors: Whether to convert or map neighbors.
            neighbor_key: Key of ``obsp`` that holds them.
            neighbor_sampling_strategy: How ``sample_neighbor_index`` chooses.
            fallback_to_identity: Whether a cell without neighbors silently stands for its own neighbor.
            data_dtype: Dtype of the values to convert to (float32 unless given), or of an archive that records none.
            data_dtype_tolerance: Difference up to which a converted value counts as unchanged.
            use_X_not_raw: Whether to convert ``X`` instead of ``raw.X``.
            on_loss: ``"warn"`` or ``"error"``: what to do when the dtype changes values.
            layer: Key of ``layers`` to convert instead of ``raw.X`` or ``X``.
            find_counts: Whether to convert what holds counts: ``raw.X``, else ``X``, else the layer ``counts``.
            feature_type: Columns to take where ``var`` has a column ``feature_types``, e.g. ``"Gene Expression"``.
            sum_duplicates: Whether values of one row and column are summed instead of stored each.
            max_memory_mb: Bound of the memory that a conversion takes, in MB.

        Raises:
            ValueError: An argument is impossible, or the h5ad file lacks the matrix.
            FileExistsError: ``data_path`` exists and must not.
            FileNotFoundError: A file is missing.
        """
        super().__init__()
        if data_dtype is not None and data_dtype not in DATA_DTYPES:
            raise ConfigError(f"Invalid data_dtype '{data_dtype}'. Must be one of: {', '.join(DATA_DTYPES)}")
        if load_neighbors and neighbor_sampling_strategy not in list(NeighborSamplingStrategy):
            raise ConfigError(f"Unsupported neighbor_sampling_strategy: {neighbor_sampling_strategy}")
        if on_loss not in ("warn", "error"):
            raise ConfigError(f"on_loss is {on_loss!r}; it must be 'warn' or 'error'.")
        self.data_path: Any = data_path
        self.mode = Mode.READ_APPEND if mode is None else Mode(mode)
        self._explicit_mode = None if mode is None else Mode(mode)
        self.paginated_load_cutoff, self.load_block_row_size = paginated_load_cutoff, load_block_row_size
        self.var_feature_index_name, self.obs_feature_index_name = var_feature_index_name, obs_feature_index_name
        self.load_neighbors, self.neighbor_key = load_neighbors, neighbor_key
        if load_neighbors:
            self.neighbor_sampling_strategy = NeighborSamplingStrategy(neighbor_sampling_strategy)
            self.fallback_to_identity = fallback_to_identity
        self.data_dtype, self.data_dtype_tolerance, self.use_X_not_raw = (
            data_dtype,
            data_dtype_tolerance,
            use_X_not_raw,
        )
        self.on_loss, self.layer, self.max_memory_mb = on_loss, layer, max_memory_mb
        self.find_counts, self.feature_type, self.sum_duplicates = find_counts, feature_type, sum_duplicates
        self._reset()

        exists = Path(data_path).exists()
        if self._explicit_mode == Mode.CREATE_APPEND and exists:
            raise FileExistsError(f"Output directory already exists: {data_path}")
        if h5ad_path is not None and exists:
            raise FileExistsError(
                "Invalid input; both an existing SCMMAP and an h5ad file were passed. "
                "Please pass either an existing SCMMAP or an h5ad file."
            )
        if exists:
            self.load(data_path)
        elif h5ad_path is not None:
            self.load_h5ad(h5ad_path)
        elif isinstance(num_rows, int) and isinstance(num_elements, int):
            self._create_empty(num_elements, num_rows)
        else:
            raise ConfigError("An np.memmap path, an h5ad path, or the number of elements and rows is required")

    def _reset(self) -> None:
        self._version = package_version()
        self.header: SCDLHeader | None = None
        self.metadata: dict[str, Any] = {}
        self.dtypes: dict[str, str] = dict(DEFAULT_DTYPES)
        self._var_feature_index, self._obs_feature_index = VariableFeatureIndex(), ObservedFeatureIndex()
        self.data = self.row_index = self.col_index = np.empty(0)
        self._checked_rows = np.empty(0, dtype=bool)
        self._has_neighbors = False

    @classmethod
    def open(cls, data_path: str | os.PathLike[str], **options: Any) -> Self:
        """Open an existing archive read-only; ``options`` as for the constructor."""
        if not Path(data_path).exists():
            raise MissingFileError(
                f"{data_path}: no such archive. Make one with the command convert_h5ad_to_scdl, or with from_h5ad."
            )
        return cls(data_path, mode=options.pop("mode", Mode.READ), **options)

    @classmethod
    def from_h5ad(cls, h5ad_path: str | os.PathLike[str], data_path: str | os.PathLike[str], **options: Any) -> Self:
        """Convert an h5ad file into a new archive; ``options`` as for the constructor."""
        return cls(data_path, h5ad_path=h5ad_path, **options)

    def __getstate__(self) -> dict[str, Any]:
        opened = {
            "data",
            "row_index",
            "col_index",
            "_checked_rows",
            "_neighbor_indptr",
            "_neighbor_indices",
            "_neighbor_data",
        }
        opened |= {"_var_feature_index", "_obs_feature_index", "metadata", "dtypes", "header"}
        return {name: value for name, value in self.__dict__.items() if name not in opened} | {
            "data_path": Path(self.data_path).absolute(),
            "_known_dtypes": self.dtypes,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        known_dtypes = state.pop("_known_dtypes")
        self.__dict__.update(state)
        if (Path(self.data_path) / FileNames.METADATA.value).exists():
            self.load(self.data_path)
        else:  # made empty and not saved yet
            self._reset()
            self.dtypes = known_dtypes
            self._map_arrays()

    # -- opening and creating -------------------------------------------------------------------------------------

    @property
    def header_path(self) -> str:
        """Path of the archive's header."""
        return f"{self.data_path}/{FileNames.HEADER.value}"

    @property
    def _is_writable(self) -> bool:
        return self._explicit_mode == Mode.READ_APPEND

    def load(self, stored_path: str | os.PathLike[str]) -> None:
        """Open an archive and check that its files fit together.

        Raises:
            FileNotFoundError: The archive or one of its files does not exist.
            FormatError: The archive is damaged.
        """
        folder = Path(stored_path)
        if not folder.exists():
            raise MissingFileError(
                f"Error: the specified data path to the mmap files {stored_path} does not exist. "
                "Specify an updated filepath or provide an h5ad path to the dataset."
            )
        metadata_path = folder / FileNames.METADATA.value
        if not metadata_path.exists():
            raise MissingFileError(
                f"Error: the metadata file {stored_path}/{FileNames.METADATA.value} does not exist."
            )
        self._reset()
        self.data_path = stored_path
        try:
            self.metadata = read_json(metadata_path)
        except FormatError as error:
            raise FormatError(f"{error} Restore it or convert again.") from error
        if not isinstance(self.metadata, dict):
            raise FormatError(f"{metadata_path}: expected an object with num_rows. Restore it or convert again.")
        self._var_feature_index = VariableFeatureIndex._read(_var_folder(folder), decode_pickled_labels=True)
        obs_folder = folder / FileNames.OBS_FEATURES.value
        has_obs = obs_folder.exists() or not (folder / FileNames.FEATURES.value).exists()
        if has_obs:
            self._obs_feature_index = ObservedFeatureIndex._read(obs_folder, decode_pickled_labels=True)
        num_indexed = self._var_feature_index.number_of_rows() if len(self._var_feature_index) else None
        layout = read_layout(
            folder,
            num_indexed_rows=num_indexed,
            max_width=max(self._var_feature_index.column_dims(), default=None),
            data_dtype=self.data_dtype,
        )
        self.dtypes, self.header = layout.dtypes, layout.header
        self._map_arrays()
        num_obs = self._obs_feature_index.number_of_rows()
        if num_obs and num_obs != len(self.row_index) - 1:
            raise FormatError(f"{obs_folder}: describes {num_obs} rows, the archive has {len(self.row_index) - 1}.")

    def _map_arrays(self) -> None:
        folder, writable = Path(self.data_path), self._is_writable
        self.data = map_array(folder / _DATA, self.dtypes[_DATA], writable=writable)
        self.row_index = map_array(folder / _ROWPTR, self.dtypes[_ROWPTR], writable=writable)
        self.col_index = map_array(folder / _COLPTR, self.dtypes[_COLPTR], writable=writable)
        self._checked_rows = np.zeros(max(0, len(self.row_index) - 1), dtype=bool)
        if self.load_neighbors:
            neighbors = open_neighbors(folder, self.dtypes, writable=writable)
            self._has_neighbors = neighbors is not None
            if neighbors is not None:
                self._neighbor_indptr, self._neighbor_indices, self._neighbor_data = neighbors

    def _create_empty(self, num_elements: int, num_rows: int) -> None:
        for what, count in (("n_elements", num_elements), ("num_rows", num_rows)):
            if count <= 0:
                raise ConfigError(f"{what} is set to {count}. It must be positive to create CSR matrices.")
        if self.data_dtype is not None:
            self.dtypes[_DATA] = self.data_dtype
        sizes = {_DATA: num_elements, _COLPTR: num_elements, _ROWPTR: num_rows + 1}
        with atomic_directory(self.data_path) as folder:
            for name, length in sizes.items():
                with (folder / name).open("wb") as file:
                    file.truncate(length * np.dtype(self.dtypes[name]).itemsize)
            (folder / FileNames.VERSION.value).write_text(json.dumps(package_version()), encoding="utf-8")
        self.mode, self._explicit_mode = Mode.CREATE_APPEND, Mode.READ_APPEND
        self._map_arrays()

    # -- converting -----------------------------------------------------------------------------------------------

    def load_h5ad(self, anndata_path: str | os.PathLike[str]) -> None:
        """Convert an h5ad file into this dataset's folder, in one step, and open it.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It lacks the matrix asked for, or values change and ``on_loss`` is ``"error"``.
        """
        from bionemo.scdl.io.conversion import ConversionOptions, convert_h5ad

        options = ConversionOptions(
            data_dtype=self.data_dtype,
            data_dtype_tolerance=self.data_dtype_tolerance,
            on_loss=self.on_loss,
            use_x_not_raw=self.use_X_not_raw,
            layer=self.layer,
            find_counts=self.find_counts,
            feature_type=self.feature_type,
            sum_duplicates=self.sum_duplicates,
            neighbor_key=self.neighbor_key if self.load_neighbors else None,
            var_feature_index_name=self.var_feature_index_name,
            obs_feature_index_name=self.obs_feature_index_name,
            paginated_load_cutoff=self.paginated_load_cutoff,
            load_block_row_size=self.load_block_row_size,
            max_memory_mb=self.max_memory_mb,
        )
        convert_h5ad(anndata_path, self.data_path, options, overwrite=True)
        self.load(self.data_path)
        self.mode = Mode.CREATE_APPEND

    def regular_load_h5ad(self, anndata_path: str) -> "tuple[pd.DataFrame, pd.DataFrame, int]":
        """Convert an h5ad file; returns its ``var`` and ``obs`` and the number of rows."""
        self.load_h5ad(anndata_path)
        return self.var_frame(), self.obs_frame(), self.number_of_rows()

    def paginated_load_h5ad(self, anndata_path: str) -> "tuple[pd.DataFrame, pd.DataFrame, int]":
        """The same: every conversion reads blocks of rows."""
        return self.regular_load_h5ad(anndata_path)

    # -- sizes and features ---------------------------------------------------------------------------------------

    def version(self) -> str:
        """Version of the installed package."""
        return self._version

    def var_features(self) -> VariableFeatureIndex:
        """Features of the columns."""
        return self._var_feature_index

    def obs_features(self) -> ObservedFeatureIndex:
        """Features of the rows."""
        return self._obs_feature_index

    def var_frame(self, block: int = 0) -> "pd.DataFrame":
        """The genes of a block as a pandas frame, with index and categories where they are known."""
        return self._var_feature_index._feature_arr[block].to_frame()

    def obs_frame(self) -> "pd.DataFrame":
        """The cells as a pandas frame, with index and categories where they are known."""
        import pandas as pd

        frames = [block.to_frame() for block in self._obs_feature_index._feature_arr]
        return pd.concat(frames) if frames else pd.DataFrame(index=range(len(self.row_index) - 1))

    def __len__(self) -> int:
        return self.number_of_rows()

    def number_of_rows(self) -> int:
        """Number of cells.

        Raises:
            ValueError: The variable index describes another number of rows than there are.
        """
        if not len(self._var_feature_index):
            return 0
        num_rows = self._var_feature_index.number_of_rows()
        if num_rows != len(self.row_index) - 1:
            raise FormatError(
                f"The number of rows in the feature index {num_rows} does not correspond to the number of rows "
                f"in the row_index {len(self.row_index) - 1}"
            )
        return num_rows

    def number_nonzero_values(self) -> int:
        """Number of stored values."""
        return int(self.data.size)

    def number_of_values(self) -> int:
        """Rows times columns, summed over blocks."""
        return sum(self._var_feature_index.number_of_values())

    def number_of_variables(self) -> list[int]:
        """Number of columns of each block; ``[0]`` without features."""
        return self._var_feature_index.column_dims() or [0]

    def shape(self) -> tuple[int, list[int]]:
        """Number of rows, and number of columns of each block."""
        return self.number_of_rows(), self.number_of_variables()

    # -- changing -------------------------------------------------------------------------------------------------

    def _refuse_if_read_only(self, what: str) -> None:
        if self._explicit_mode == Mode.READ:
            raise DataFileError(f"{self.data_path}: opened with mode 'r', so {what} is refused. Open it without mode.")

    def save(self, output_path: str | None = None) -> bool:
        """Write header, metadata and both indices, and flush edited arrays; the archive changes in one step.

        Raises:
            NotImplementedError: A path is given.
            FileNotFoundError: A file of the archive was removed meanwhile.
        """
        if output_path is not None:
            raise NotImplementedError("Saving to separate path is not yet implemented.")
        self._refuse_if_read_only("save")
        for name in (_DATA, _ROWPTR, _COLPTR):
            if not (Path(self.data_path) / name).exists():
                raise MissingFileError(f"This file should exist from object creation: {self.data_path}/{name}")
        from bionemo.scdl.io.editing import save_archive

        save_archive(self)
        self.load(self.data_path)
        return True

    def cast_data_to_dtype(self, dtype: str, *, allow_loss: bool = False) -> None:
        """Store the values in another dtype; the archive changes in one step.

        Args:
            dtype: Any dtype an archive can hold.
            allow_loss: Whether values may change by more than ``data_dtype_tolerance``.

        Raises:
            ValueError: The dtype is unknown, or values would change.
        """
        if dtype not in DATA_DTYPES:
            raise ConfigError(f"Invalid data_dtype '{dtype}'. Must be one of: {', '.join(DATA_DTYPES)}")
        self._refuse_if_read_only("cast_data_to_dtype")
        from bionemo.scdl.io.editing import cast_archive

        cast_archive(self, dtype, allow_loss=allow_loss)
        self.load(self.data_path)

    def concat(
        self,
        other_dataset: "list[SingleCellMemMapDataset] | SingleCellMemMapDataset",
        extend_copy_size: int = 10 * 1_024 * 1_024,
        output_path: str | None = None,
        destroy_on_copy: bool = False,
        *,
        genes: str = "ragged",
        gene_key: str | None = None,
    ) -> None:
        """Append the rows of other datasets; the archive changes in one step.

        Args:
            other_dataset: One dataset or a list, appended in this order.
            extend_copy_size: Stored values copied at a time.
            output_path: A new archive instead of changing this one; this object then stands for it.
            destroy_on_copy: With ``output_path``: whether to remove the source archives afterwards.
            genes: ``"ragged"``: each block keeps its own columns. ``"union"``, ``"intersection"``: one gene table.
            gene_key: Feature that identifies a gene; the frame's index unless given.

        Raises:
            ValueError: Something else than datasets, or integer and float values to be mixed.
        """
        others = other_dataset if isinstance(other_dataset, list) else [other_dataset]
        for other in others:
            if not isinstance(other, SingleCellMemMapDataset):
                raise DataError(
                    f"Expecting either a {SingleCellMemMapDataset} or a list thereof. "
                    f"Actually got: {type(other_dataset)}"
                )
        if not others:
            return
        from bionemo.scdl.io.merge import merge_archives

        target = Path(self.data_path if output_path is None else output_path)
        if output_path is None:
            self._refuse_if_read_only("concat")
        elif target.exists():
            raise FileExistsError(f"Output directory already exists: {target}")
        sources = [self, *others]
        merge_archives(sources, target, genes=genes, gene_key=gene_key, max_elements=extend_copy_size)
        if output_path is not None and destroy_on_copy:
            for folder in {Path(source.data_path) for source in sources}:
                shutil.rmtree(folder)
        self.load(self.data_path if output_path is None else output_path)

    # -- other forms ----------------------------------------------------------------------------------------------

    def to_anndata(self, rows: Sequence[int] | slice | None = None) -> "anndata.AnnData":
        """The archive, or some of its rows, in memory as AnnData with ``X`` in CSR form; see :mod:`.export`."""
        from bionemo.scdl.io.export import to_anndata

        return to_anndata(self, rows)

    def verify(self) -> list[str]:
        """Read every file and describe each problem found; empty for a sound archive."""
        from bionemo.scdl.io.verification import verify_archive

        return verify_archive(Path(self.data_path))


def _var_folder(folder: Path) -> Path:
    current, old = folder / FileNames.VAR_FEATURES.value, folder / FileNames.FEATURES.value
    found = current if current.exists() or not old.exists() else old
    if not found.exists():
        raise MissingFileError(f"{current}: the feature index is missing. Convert the archive again.")
    return found
