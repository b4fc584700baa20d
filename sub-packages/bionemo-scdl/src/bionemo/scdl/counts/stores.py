# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Files with cells by genes: h5ad, zarr, 10x h5, mtx folders, AnnData in memory; each offers its matrices by name.

Names are ``raw.X``, ``X`` and ``layers/NAME``, as in anndata; a file with one matrix calls it ``X``.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bionemo.core.errors import FormatError, MissingDependencyError
from bionemo.scdl.counts.frames import read_element, read_frame
from bionemo.scdl.counts.matrices import CsrMatrix, Matrix
from bionemo.scdl.counts.open_matrix import matrix_in_memory, open_matrix


if TYPE_CHECKING:
    import anndata
    import pandas as pd


class Store(Protocol):
    """An open file or object."""

    name: str
    """For messages."""
    matrices: list[str]
    """Names of the matrices that it has, in the order in which counts are looked for."""

    def matrix(self, key: str, scratch_dir: Path | None) -> Matrix:
        """Open a matrix."""

    def obs(self) -> "pd.DataFrame":
        """Description of the rows."""

    def var(self, key: str) -> "pd.DataFrame":
        """Description of the columns of a matrix."""

    def graph(self, key: str) -> Any:
        """Element of ``obsp``, or None where there is none."""

    def close(self) -> None:
        """Close the file."""


class AnnDataFile:
    """An h5ad file or a zarr store of anndata, of any version from 0.6 on.

    Args:
        file: Open ``h5py.File`` or ``zarr.Group``.
        name: For messages.
    """

    def __init__(self, file: Any, name: str) -> None:
        self.file, self.name = file, name
        self._raw = next(
            ((key, var) for key, var in (("raw/X", "raw/var"), ("raw.X", "raw.var")) if key in file), None
        )
        layers = sorted(file["layers"]) if "layers" in file else []
        self.matrices = [
            *(["raw.X"] if self._raw else []),
            *(["X"] if "X" in file and not _is_null(file["X"]) else []),
            *(f"layers/{layer}" for layer in layers),
        ]

    def matrix(self, key: str, scratch_dir: Path | None) -> Matrix:
        """Open a matrix."""
        place = self._raw[0] if key == "raw.X" and self._raw else key
        return open_matrix(self.file[place], f"{self.name}: {place}", scratch_dir)

    def obs(self) -> "pd.DataFrame":
        """Read the description of the cells."""
        return read_frame(self.file, "obs", self.name)

    def var(self, key: str) -> "pd.DataFrame":
        """Read the description of a matrix's genes.

        For ``raw.X`` this is ``var``, the richer one, where it is about the same genes in the same order.
        """
        var = read_frame(self.file, "var", self.name)
        if key != "raw.X" or self._raw is None or self._raw[1] not in self.file:
            return var
        raw_var = read_frame(self.file, self._raw[1], self.name)
        return var if var.index.equals(raw_var.index) else raw_var

    def graph(self, key: str) -> Any:
        """Read a matrix of ``obsp``, or return None."""
        if "obsp" not in self.file or key not in self.file["obsp"]:
            return None
        return read_element(self.file["obsp"][key], f"{self.name}: obsp/{key}")

    def close(self) -> None:
        """Close the file."""
        if hasattr(self.file, "close"):
            self.file.close()


class TenxFile:
    """A feature-barcode matrix of Cell Ranger (``.h5``), version 2 or 3: CSC of genes by cells, read as CSR.

    ``var`` is as scanpy names it: gene symbols as index, ``gene_ids``, ``feature_types`` and ``genome``.
    """

    def __init__(self, file: Any, name: str) -> None:
        self.file, self.name, self.matrices = file, name, ["X"]
        genomes = [key for key in file if hasattr(file[key], "keys") and "barcodes" in file[key]]
        if len(genomes) != 1:
            raise FormatError(
                f"{name}: has {len(genomes)} matrices {genomes}, one for each genome. "
                "Choose one with scanpy.read_10x_h5(path, genome=...) and save it with write_h5ad."
            )
        self._group = file[genomes[0]]
        self._genome = genomes[0]

    def matrix(self, key: str, scratch_dir: Path | None) -> Matrix:
        """Open the matrix."""
        num_genes, num_cells = (int(size) for size in self._group["shape"][:])
        return CsrMatrix(self._group, f"{self.name}: matrix", (num_cells, num_genes))

    def obs(self) -> "pd.DataFrame":
        """Read the barcodes."""
        import pandas as pd

        return pd.DataFrame(index=_texts(self._group["barcodes"]))

    def var(self, key: str) -> "pd.DataFrame":
        """Read the features."""
        import pandas as pd

        if "features" not in self._group:
            columns = {"gene_ids": _texts(self._group["genes"]), "genome": self._genome}
            return pd.DataFrame(columns, index=_texts(self._group["gene_names"]))
        features = self._group["features"]
        columns = {"gene_ids": _texts(features["id"]), "feature_types": _texts(features["feature_type"])}
        if "genome" in features:
            columns["genome"] = _texts(features["genome"])
        return pd.DataFrame(columns, index=_texts(features["name"]))

    def graph(self, key: str) -> Any:
        """Return None: there are no graphs."""
        return None

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class AnnDataObject:
    """An AnnData object, in memory or backed by its file."""

    def __init__(self, adata: "anndata.AnnData", name: str = "adata") -> None:
        self._adata, self.name = adata, name
        self.matrices = [
            *(["raw.X"] if adata.raw is not None else []),
            *(["X"] if adata.X is not None else []),
            *(f"layers/{layer}" for layer in sorted(adata.layers)),
        ]
        self._taken: tuple[str, Matrix] | None = None

    def matrix(self, key: str, scratch_dir: Path | None) -> Matrix:
        """Take a matrix; the last one is kept, because what was looked at is then read."""
        if self._taken is None or self._taken[0] != key:
            parts = {"raw.X": lambda: self._adata.raw.X, "X": lambda: self._adata.X}
            matrix = parts[key]() if key in parts else self._adata.layers[key.removeprefix("layers/")]
            self._taken = key, matrix_in_memory(matrix, f"{self.name}: {key}")
        return self._taken[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the matrix taken, which is made again from the object."""
        return self.__dict__ | {"_taken": None}

    def obs(self) -> "pd.DataFrame":
        """Return the description of the cells."""
        return self._adata.obs

    def var(self, key: str) -> "pd.DataFrame":
        """Return the description of a matrix's genes; see `AnnDataFile.var`."""
        if key != "raw.X" or self._adata.var.index.equals(self._adata.raw.var.index):
            return self._adata.var
        return self._adata.raw.var

    def graph(self, key: str) -> Any:
        """Return a matrix of ``obsp``, or None."""
        return self._adata.obsp[key] if key in self._adata.obsp else None

    def close(self) -> None:
        """Do nothing: the object is the caller's."""


def open_hdf5(path: Path) -> Any:
    """Open an HDF5 file; compressions of the package hdf5plugin are available where it is installed.

    Raises:
        FormatError: It is no HDF5 file, or damaged.
        MissingDependencyError: A dataset is compressed in a way that needs a plugin which is not installed.
    """
    import h5py

    if importlib.util.find_spec("hdf5plugin") is not None:
        importlib.import_module("hdf5plugin")  # registers its filters with h5py
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read as an h5ad file ({error}).") from error
    try:
        file.visititems(lambda name, item: _check_filters(path, name, item))
    except BaseException:
        file.close()
        raise
    return file


def _check_filters(path: Path, name: str, item: Any) -> None:
    import h5py

    if not isinstance(item, h5py.Dataset) or item.chunks is None:
        return
    settings = item.id.get_create_plist()
    for position in range(settings.get_nfilters()):
        code, _, _, label = settings.get_filter(position)
        if not h5py.h5z.filter_avail(code):
            text = label.decode(errors="replace") or "unknown"
            raise MissingDependencyError(
                f"{path}: {name} is compressed by the HDF5 filter {code} ({text}), which is not installed. "
                "Run: pip install hdf5plugin"
            )


def open_zarr(path: Path) -> Any:
    """Open a zarr store read-only.

    Raises:
        MissingDependencyError: zarr is not installed.
        FormatError: It is damaged.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingDependencyError(f"{path}: reading a zarr store needs zarr. Run: pip install zarr") from error
    try:
        return zarr.open_group(str(path), mode="r")
    except Exception as error:  # zarr raises errors of its own and of its storage
        if (path / "zarr.json").is_file() and int(zarr.__version__.partition(".")[0]) < 3:
            raise MissingDependencyError(
                f"{path}: is of zarr's format 3, and zarr {zarr.__version__} is installed. Run: pip install 'zarr>=3'"
            ) from error
        raise FormatError(f"{path}: cannot be read as a zarr store ({type(error).__name__}: {error}).") from error


def _is_null(element: Any) -> bool:
    """Whether anndata wrote that there is no ``X``."""
    return bool(element.attrs.get("encoding-type", "") == "null") or getattr(element, "shape", 0) is None


def _texts(dataset: Any) -> np.ndarray:
    values = dataset[:]
    texts = [text.decode("utf-8") if isinstance(text, bytes) else str(text) for text in values.tolist()]
    return np.array([*texts, None], dtype=object)[:-1]
