# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What the files of an archive hold: their dtypes and lengths, checked before anything is read from them.

Three kinds of archives are told apart. A header whose lengths match the files is believed. A header that disagrees
(releases up to 0.1.3 left it behind when they widened an array in place) is corrected from the file sizes, if they add
up with items as wide as the header's or wider. Without a header (releases 2.0 to 2.6) the sizes alone decide.
"""

import itertools
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bionemo.core.errors import FormatError, MissingFileError
from bionemo.scdl.schema.header import SCDLHeader
from bionemo.scdl.schema.headerutil import HeaderSerializationError
from bionemo.scdl.schema.version import CurrentSCDLVersion
from bionemo.scdl.util.scdl_constants import FLOAT_ORDER, INT_ORDER, ArrayDType, FileNames


MAIN_ARRAYS = (FileNames.DATA, FileNames.ROWPTR, FileNames.COLPTR)
NEIGHBOR_ARRAYS = (FileNames.NEIGHBOR_INDICES, FileNames.NEIGHBOR_INDICES_PTR, FileNames.NEIGHBOR_VALUES)
DEFAULT_DTYPES = {
    FileNames.DATA.value: "float32",
    FileNames.COLPTR.value: "uint32",
    FileNames.ROWPTR.value: "uint64",
    FileNames.NEIGHBOR_INDICES.value: "uint32",
    FileNames.NEIGHBOR_INDICES_PTR.value: "uint64",
    FileNames.NEIGHBOR_VALUES.value: "float32",
}
_GUESS_SAMPLE = 1_000_000
_RECORDED_DTYPES = (*INT_ORDER, "int32", "int64", *FLOAT_ORDER)


@dataclass(frozen=True)
class ArchiveLayout:
    """The dtypes of an archive's files.

    Attributes:
        dtypes: File name → dtype name; NumPy's ``int32``/``int64`` only occur in archives of releases 2.0 to 2.6.
        header: The header, or None where there is none.
    """

    dtypes: dict[str, str]
    header: SCDLHeader | None


def map_array(path: Path, dtype: str, *, writable: bool = False) -> np.ndarray:
    """Map a raw little-endian file as a one-dimensional array.

    Raises:
        FileNotFoundError: There is no such file.
        FormatError: Its size is no multiple of the item size.
    """
    if not path.is_file():
        raise MissingFileError(f"The mmap file at {path} is missing")
    item = np.dtype(dtype).newbyteorder("<")
    size_bytes = path.stat().st_size
    if size_bytes % item.itemsize:
        raise FormatError(f"{path}: {size_bytes} bytes are no whole number of {dtype} items ({item.itemsize} bytes).")
    if size_bytes == 0:  # an empty file cannot be mapped
        array = np.empty(0, item)
        array.flags.writeable = writable
        return array
    return np.memmap(path, dtype=item, mode="r+" if writable else "r").view(np.ndarray)


def read_items(path: Path, dtype: str, start: int, stop: int) -> np.ndarray:
    """Read a part of a raw file into memory of its own.

    What passes through a map stays counted as the process's memory until the system needs it; this does not.
    """
    item = np.dtype(dtype).newbyteorder("<")
    return np.fromfile(path, item, stop - start, offset=start * item.itemsize)


def read_layout(
    folder: Path, *, num_indexed_rows: int | None, max_width: int | None = None, data_dtype: str | None = None
) -> ArchiveLayout:
    """Find the dtypes of an archive's arrays and check that the files fit together.

    Args:
        folder: The archive.
        num_indexed_rows: Rows that the variable index describes; None where it has no blocks.
        max_width: Greatest number of columns of any row, where it is known.
        data_dtype: Dtype of the values where no header records it.

    Raises:
        FormatError: The header is damaged or of a newer major version, or sizes and row pointers contradict it.
        FileNotFoundError: A file is missing.
    """
    for name in MAIN_ARRAYS:
        if not (folder / name.value).is_file():
            raise MissingFileError(f"The mmap file at {folder / name.value} is missing")
    header = _read_header(folder)
    if header is None:
        found = _dtypes_without_header(folder, num_indexed_rows, max_width, data_dtype)
        return ArchiveLayout(found, None)
    dtypes = _header_dtypes(folder, header)
    problem = _disagreement(folder, header, dtypes)
    if problem is None:
        _check_ends(folder, dtypes, num_indexed_rows)
        return ArchiveLayout(dtypes, header)
    corrected = _corrected_dtypes(folder, dtypes, num_indexed_rows, max_width)
    if corrected is None:
        raise FormatError(f"{problem} The archive is truncated or damaged; convert it again.")
    warnings.warn(
        f"{problem} The files fit together as {_describe(corrected)}, which is used; save the archive to repair it.",
        UserWarning,
        stacklevel=4,
    )
    return ArchiveLayout(corrected, header)


def check_row_pointers(path: Path, dtype: str, num_values: int, num_indexed_rows: int | None) -> str | None:
    """Describe what is wrong with the row pointers, reading all of them; None when they are consistent."""
    pointers = map_array(path, dtype)
    problem = _check_first_and_last(pointers, num_values, num_indexed_rows)
    if problem is None and _falls(pointers):
        problem = "the row pointers fall"
    return None if problem is None else f"{path}: {problem}."


def _read_header(folder: Path) -> SCDLHeader | None:
    path = folder / FileNames.HEADER.value
    if not path.exists():
        warnings.warn(f"SCDL header missing at {path}; continuing without header.", UserWarning, stacklevel=5)
        return None
    try:
        header = SCDLHeader.load(path)
    except HeaderSerializationError as error:
        raise FormatError(f"{path}: damaged header ({error}). Restore the file or convert again.") from error
    if header.version.major > CurrentSCDLVersion().major:
        raise FormatError(
            f"{path}: schema version {header.version}, but this package reads up to {CurrentSCDLVersion().major}.x. "
            "Upgrade bionemo-scdl."
        )
    return header


def _header_dtypes(folder: Path, header: SCDLHeader) -> dict[str, str]:
    dtypes = dict(DEFAULT_DTYPES)
    for info in header.arrays:
        if info.name in FileNames.__members__ and info.dtype not in (
            ArrayDType.STRING_ARRAY,
            ArrayDType.FIXED_STRING_ARRAY,
        ):
            dtypes[FileNames[info.name].value] = info.dtype.numpy_dtype_string
    for name in MAIN_ARRAYS:
        if header.get_array(name.name) is None:
            raise FormatError(f"{folder / FileNames.HEADER.value}: no array {name.name}. Convert the archive again.")
    return dtypes


def _disagreement(folder: Path, header: SCDLHeader, dtypes: dict[str, str]) -> str | None:
    for info in header.arrays:
        if info.name not in FileNames.__members__:
            continue
        name = FileNames[info.name].value
        path = folder / name
        if not path.exists():
            raise MissingFileError(f"The mmap file at {path} is missing")
        expected, actual = info.length * np.dtype(dtypes[name]).itemsize, path.stat().st_size
        if expected != actual and FileNames[info.name] in NEIGHBOR_ARRAYS:
            raise FormatError(
                f"{path}: {actual} bytes, the header says {expected}. The archive is damaged; convert it again."
            )
        if expected != actual:
            return (
                f"{path}: the header says {info.length} items of {dtypes[name]} ({expected} bytes), "
                f"the file has {actual} bytes."
            )
    lengths = [info.length for name in ("DATA", "COLPTR") for info in header.arrays if info.name == name]
    if lengths[0] != lengths[1]:
        return f"{folder / FileNames.HEADER.value}: {lengths[0]} values, but {lengths[1]} column numbers."
    return None


def _check_ends(folder: Path, dtypes: dict[str, str], num_indexed_rows: int | None) -> None:
    pointers = map_array(folder / FileNames.ROWPTR.value, dtypes[FileNames.ROWPTR.value])
    num_values = map_array(folder / FileNames.DATA.value, dtypes[FileNames.DATA.value]).size
    problem = _check_first_and_last(pointers, num_values, num_indexed_rows)
    if problem is not None:
        raise FormatError(f"{folder / FileNames.ROWPTR.value}: {problem}. The archive is damaged; convert it again.")


def _check_first_and_last(pointers: np.ndarray, num_values: int, num_indexed_rows: int | None) -> str | None:
    if pointers.size == 0:
        return "no row pointers"
    if num_indexed_rows is not None and pointers.size - 1 != num_indexed_rows:
        return f"{pointers.size - 1} rows, but the feature index describes {num_indexed_rows}"
    if int(pointers[0]) != 0:
        return f"the first row pointer is {int(pointers[0])} instead of 0"
    if num_indexed_rows is None and int(pointers[-1]) == 0:
        return None  # made with num_rows and num_elements, not filled yet
    if int(pointers[-1]) != num_values:
        return f"the last row pointer is {int(pointers[-1])}, but there are {num_values} values"
    return None


def _falls(pointers: np.ndarray, chunk: int = 1 << 22) -> bool:
    starts = range(0, max(0, pointers.size - 1), chunk)
    parts = (pointers[start : start + chunk + 1] for start in starts)
    return any(bool((part[1:] < part[:-1]).any()) for part in parts)


def _corrected_dtypes(
    folder: Path, dtypes: dict[str, str], num_indexed_rows: int | None, max_width: int | None
) -> dict[str, str] | None:
    """Dtypes as wide as the header's, or wider, with which the files fit together."""
    data, row, col = (name.value for name in MAIN_ARRAYS)
    wider_rows, wider_cols = (INT_ORDER[INT_ORDER.index(dtypes[name]) :] for name in (row, col))
    for row_dtype, col_dtype in itertools.product(wider_rows, wider_cols):
        sizes = _fit(folder, row_dtype, np.dtype(col_dtype).itemsize, num_indexed_rows, max_width)
        if sizes is not None and sizes >= np.dtype(dtypes[data]).itemsize:
            wanted = dtypes[data] if sizes == np.dtype(dtypes[data]).itemsize else None
            found = wanted or _guess_data_dtype(folder / data, sizes, unsigned=True, known=dtypes[data])
            return dtypes | {data: found, row: row_dtype, col: col_dtype}
    return None


def _dtypes_without_header(
    folder: Path, num_indexed_rows: int | None, max_width: int | None, data_dtype: str | None
) -> dict[str, str]:
    data, row, col = (name.value for name in MAIN_ARRAYS)
    dtypes = dict(DEFAULT_DTYPES)
    recorded = folder / "dtypes.json"
    if recorded.exists():
        try:
            known = json.loads(recorded.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{recorded}: cannot be read ({error}). Remove or repair it.") from error
        if not isinstance(known, dict):
            raise FormatError(f"{recorded}: expected an object of file names and dtypes. Remove or repair it.")
        for name in dtypes.keys() & known.keys():
            if known[name] not in _RECORDED_DTYPES:
                raise FormatError(
                    f"{recorded}: {known[name]!r} is no dtype of {name}; expected one of "
                    f"{', '.join(_RECORDED_DTYPES)}. Remove or repair it."
                )
            dtypes[name] = known[name]
        data_dtype = data_dtype or dtypes[data]
    for row_dtype, col_size in itertools.product(reversed(INT_ORDER), (4, 8, 2, 1)):
        item_size = _fit(folder, row_dtype, col_size, num_indexed_rows, max_width)
        if item_size is None:
            continue
        if (folder / data).stat().st_size == 0:
            found = data_dtype or dtypes[data]
        elif data_dtype is not None:
            if np.dtype(data_dtype).itemsize != item_size:
                raise FormatError(
                    f"{folder / data}: values of {item_size} bytes, but data_dtype is {data_dtype}. Leave it out."
                )
            found = data_dtype
        else:
            found = _guess_data_dtype(folder / data, item_size, unsigned=False)
        return dtypes | {data: found, row: row_dtype, col: f"uint{8 * col_size}"}
    sizes = ", ".join(f"{name.value} {(folder / name.value).stat().st_size} bytes" for name in MAIN_ARRAYS)
    raise FormatError(
        f"{folder}: the files do not fit together ({sizes}, {num_indexed_rows} rows in the feature index). "
        "It is damaged or was concatenated by a release that wrote wrong row pointers; convert again."
    )


def _fit(
    folder: Path, row_dtype: str, col_size: int, num_indexed_rows: int | None, max_width: int | None
) -> int | None:
    """Bytes per value, if row pointers of this dtype and column numbers of this size fit the files."""
    data_path, row_path, col_path = (folder / name.value for name in MAIN_ARRAYS)
    data_bytes, row_bytes, col_bytes = (path.stat().st_size for path in (data_path, row_path, col_path))
    if row_bytes % np.dtype(row_dtype).itemsize or col_bytes % col_size:
        return None
    num_values = col_bytes // col_size
    if check_row_pointers(row_path, row_dtype, num_values, num_indexed_rows) is not None:
        return None
    if num_values == 0:
        return 4 if data_bytes == 0 else None
    # Pairs of narrow column numbers, read as wide ones, are far beyond any width.
    columns = map_array(col_path, f"uint{8 * col_size}")[:_GUESS_SAMPLE]
    if max_width is not None and int(columns.max()) >= max_width:
        return None
    item_size, rest = divmod(data_bytes, num_values)
    return item_size if rest == 0 and item_size in (1, 2, 4, 8) else None


def _guess_data_dtype(path: Path, item_size: int, *, unsigned: bool, known: str | None = None) -> str:
    """Floats, unless the first values make no sense as floats and do as integers."""
    integer = f"{'uint' if unsigned else 'int'}{8 * item_size}"
    if item_size == 1:
        return "uint8"
    if item_size == 2:
        return "float16" if known is not None and known.startswith("float") else "uint16"
    floats = map_array(path, f"float{8 * item_size}")[:_GUESS_SAMPLE]
    integers = map_array(path, f"int{8 * item_size}")[:_GUESS_SAMPLE]
    tiny = np.finfo(floats.dtype).tiny
    odd = np.isnan(floats) | ((floats != 0) & (np.abs(floats) < tiny))
    is_integer = bool(odd.any()) and bool((np.abs(integers) < 2**31 - 1).all()) and not _looks_normal(floats, odd)
    return integer if is_integer else f"float{8 * item_size}"


def _looks_normal(floats: np.ndarray, odd: np.ndarray) -> bool:
    """Whether most non-zero values are ordinary numbers after all (a NaN among true floats)."""
    nonzero = floats != 0
    return bool((~odd & nonzero).sum() > odd.sum())


def _describe(dtypes: dict[str, str]) -> str:
    return ", ".join(f"{name.value} {dtypes[name.value]}" for name in MAIN_ARRAYS)
