# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Find out by its content what a file or folder is, and open it or say how to convert it."""

import os
from pathlib import Path
from typing import Any

from bionemo.core.errors import FormatError, MissingFileError
from bionemo.scdl.counts.mtx import MtxFolder, find_mtx
from bionemo.scdl.counts.stores import AnnDataFile, Store, TenxFile, open_hdf5, open_zarr


_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZARR_MARKS = ("zarr.json", ".zgroup")
_OTHERS = {
    ".loom": "a loom file. Convert it: anndata.io.read_loom(path).write_h5ad('cells.h5ad')",
    ".csv": "a table of text. Convert it: anndata.io.read_csv(path).write_h5ad('cells.h5ad')",
    ".tsv": "a table of text. Convert it: anndata.io.read_csv(path, delimiter='\\t').write_h5ad('cells.h5ad')",
    ".txt": "a table of text. Convert it: anndata.io.read_text(path).write_h5ad('cells.h5ad')",
    ".rds": "an R object. Convert it in R: zellkonverter::writeH5AD(object, 'cells.h5ad')",
    ".rda": "an R object. Convert it in R: zellkonverter::writeH5AD(object, 'cells.h5ad')",
    ".h5mu": "a MuData file. Save one modality: mudata.read_h5mu(path)['rna'].write_h5ad('cells.h5ad')",
}


def open_store(path: Path) -> Store:
    """Open a file or folder with cells by genes.

    Raises:
        MissingFileError: There is no such file.
        FormatError: It is of another format (the message says which, and how to convert it), or damaged.
        MissingDependencyError: Reading it needs a package that is not installed.
    """
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such file or folder.")
    try:
        return _open_folder(path) if path.is_dir() else _open_file(path)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: cannot be read ({type(error).__name__}: {error}). The file is damaged.") from error


def find_data_files(path: Path) -> list[Path]:
    """Return the h5ad files and zarr stores below a folder, sorted; a path that is one data set stands for itself.

    Raises:
        FileNotFoundError: There are none.
    """
    if path.is_file() or is_store(path):
        return [path]
    found = []
    for folder, folders, names in os.walk(path, followlinks=True):
        found += [Path(folder, name) for name in names if name.endswith(".h5ad")]
        stores = [name for name in folders if any(Path(folder, name, mark).is_file() for mark in _ZARR_MARKS)]
        found += [Path(folder, name) for name in stores]
        folders[:] = sorted(set(folders) - set(stores))
    if not found:
        others = sorted({*path.rglob("*.h5"), *path.rglob("*matrix.mtx"), *path.rglob("*matrix.mtx.gz")})
        hint = f" Give one of these instead: {', '.join(map(str, others[:3]))}." if others else ""
        raise MissingFileError(f"There a no h5ad files in {path}.{hint}")
    return sorted(found)


def is_store(path: Path) -> bool:
    """Whether a folder is one data set rather than a folder of data sets."""
    return any((path / mark).is_file() for mark in _ZARR_MARKS) or bool(path.is_dir() and find_mtx(path))


def is_archive(path: Path) -> bool:
    """Whether a folder is an SCDL archive, or what is left of one."""
    return any((path / name).is_file() for name in ("data.npy", "row_ptr.npy", "col_ptr.npy", "header.sch"))


def size_and_time(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of the last change in ns, of a file or of all files of a folder."""
    stats = [file.stat() for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file()]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


def _open_folder(path: Path) -> Store:
    if any((path / mark).is_file() for mark in _ZARR_MARKS):
        group = open_zarr(path)
        return AnnDataFile(_expect_anndata(group, path, "zarr store"), str(path))
    matrices = find_mtx(path)
    if len(matrices) == 1:
        return MtxFolder(matrices[0])
    if matrices:
        raise FormatError(f"{path}: holds {len(matrices)} matrices: {matrices[0].name}, ... Give one of these files.")
    if is_archive(path):
        raise FormatError(f"{path}: is an SCDL archive already. Open it with SingleCellMemMapDataset.open.")
    if (path / "dataset_dict.json").is_file():
        splits = sorted(folder.name for folder in path.iterdir() if folder.is_dir()) or ["train"]
        raise FormatError(
            f"{path}: is a Hugging Face DatasetDict with the splits {', '.join(splits)}. A split holds tokens, no "
            f"counts; where tokens are read, give one: {path / splits[0]}"
        )
    if any((path / name).is_file() for name in ("state.json", "dataset_info.json")):
        raise FormatError(f"{path}: is a Hugging Face data set of tokens, not of counts.")
    files = sorted(path.glob("*.h5ad"))
    if files:
        raise FormatError(
            f"{path}: is a folder of {len(files)} h5ad files. Give one of them, or make one archive of all: "
            f"convert_h5ad_to_scdl --data-path {path} --save-path ARCHIVE"
        )
    raise FormatError(f"{path}: holds neither an SCDL archive nor a zarr store nor matrix.mtx. Give an h5ad file.")


def _open_file(path: Path) -> Store:
    with path.open("rb") as file:
        start = file.read(8)
    name = path.name.lower()
    if name.removesuffix(".gz").endswith(".mtx"):
        return MtxFolder(path)
    if start[:2] == b"\x1f\x8b" and not name.endswith(".rds"):
        raise FormatError(f"{path}: is compressed by gzip. Unpack it: gunzip --keep {path.name}")
    for suffix, what in _OTHERS.items():
        if name.endswith(suffix):
            raise FormatError(f"{path}: is {what}")
    if start != _HDF5_MAGIC:
        raise FormatError(f"{path}: cannot be read as an h5ad file (it is no HDF5 file).")
    group = open_hdf5(path)
    try:
        if {"matrix", "row_attrs", "col_attrs"} <= set(group):
            raise FormatError(f"{path}: is {_OTHERS['.loom']}")
        if "assays" in group:
            raise FormatError(f"{path}: is an h5Seurat file. Convert it in R: SeuratDisk::Convert(path, 'h5ad')")
        if any(hasattr(group[key], "keys") and "barcodes" in group[key] for key in group):
            return TenxFile(group, str(path))
        return AnnDataFile(_expect_anndata(group, path, "HDF5 file"), str(path))
    except BaseException:
        group.close()
        raise


def _expect_anndata(group: Any, path: Path, what: str) -> Any:
    if not any(key in group for key in ("obs", "var", "X", "raw")):
        found = ", ".join(sorted(map(str, group))[:8]) or "nothing"
        raise FormatError(f"{path}: is a {what} without obs, var and X (it holds {found}); no AnnData file.")
    return group
