# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Labels of feature blocks (the path of the h5ad file), in the formats of all releases."""

import json
import pathlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import DataError, FormatError, MissingFileError
from bionemo.core.restricted_pickle import restricted_loads
from bionemo.scdl.index.npy_file import read_npy


def write_labels(folder: Path, labels: Sequence[Any], *, for_old_readers: bool = False) -> None:
    """Write ``labels.json``, and with ``for_old_readers`` a ``labels.npy`` of text that release 0.1.3 opens."""
    texts = [None if label is None else str(label) for label in labels]
    (folder / "labels.json").write_text(json.dumps(texts), encoding="utf-8")
    if for_old_readers:
        np.save(folder / "labels.npy", np.array([text or "" for text in texts], dtype=np.str_), allow_pickle=False)


def read_labels(folder: Path, num_blocks: int, *, decode_pickled: bool = False) -> list[str | None]:
    """Read the labels of an index.

    Args:
        folder: The index's folder.
        num_blocks: How many labels there must be where none can be decoded.
        decode_pickled: Decode a pickled ``labels.npy`` by a whitelist of harmless types; labels that hold anything
            else become None with a FutureWarning. Off: such a file is refused.

    Raises:
        FileNotFoundError: There is no labels file.
        ValueError: ``labels.npy`` holds pickled objects, or a file is damaged.
    """
    modern, legacy = folder / "labels.json", folder / "labels.npy"
    if modern.exists():
        try:
            labels = json.loads(modern.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{modern}: is no JSON ({error}). Convert the archive again.") from error
        if not isinstance(labels, list) or not all(label is None or isinstance(label, str) for label in labels):
            raise FormatError(f"{modern}: expected a list of text or null. Convert the archive again.")
        return labels
    if not legacy.exists():
        raise MissingFileError(f"No labels file found in {folder}. Expected labels.json or labels.npy.")
    try:
        stored = read_npy(legacy)
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise FormatError(f"{legacy}: is no array file ({error}). Convert the archive again.") from error
    else:
        if not decode_pickled:
            warnings.warn(
                f"Found legacy labels.npy in '{folder}'. Save the index again to write labels.json instead.",
                FutureWarning,
                stacklevel=4,
            )
        return [str(label) or None for label in stored.tolist()]
    if not decode_pickled:
        raise DataError(
            f"Cannot safely load labels.npy in '{folder}' because it contains pickled objects. "
            "Open the archive with SingleCellMemMapDataset and save it to write labels.json."
        )
    try:
        return _decode_pickled(legacy)
    except (ValueError, OSError) as error:  # what cannot be decoded is a ValueError
        warnings.warn(
            f"The labels in '{legacy}' are pickled objects that are not decoded ({error}); they are set to None.",
            FutureWarning,
            stacklevel=4,
        )
        return [None] * num_blocks


def _decode_pickled(path: Path) -> list[str | None]:
    if (size := path.stat().st_size) > _MAX_LABEL_BYTES:
        raise FormatError(f"{size:,} bytes, expected at most {_MAX_LABEL_BYTES:,}")
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        reader(file)
        labels = restricted_loads(file.read(), extra=_PATHS, refusal="is not a label")
    if not isinstance(labels, np.ndarray):
        raise FormatError(f"found a {type(labels).__name__}")
    decoded = labels.ravel().tolist()
    if not all(label is None or isinstance(label, str | pathlib.PurePath) for label in decoded):
        raise FormatError("found other objects than paths and text")
    return [None if label is None else str(label) for label in decoded]


def _posix_path(*parts: str) -> pathlib.PurePath:
    return pathlib.PurePosixPath(*parts)


def _windows_path(*parts: str) -> pathlib.PurePath:
    return pathlib.PureWindowsPath(*parts)


# Paths of any system become pure paths, which touch no disk.
_PATHS = {
    (module, name): function
    for module in ("pathlib", "pathlib._local")
    for function, names in (
        (_posix_path, ("PosixPath", "PurePosixPath")),
        (_windows_path, ("WindowsPath", "PureWindowsPath")),
    )
    for name in names
}
_MAX_LABEL_BYTES = 64 * 2**20
