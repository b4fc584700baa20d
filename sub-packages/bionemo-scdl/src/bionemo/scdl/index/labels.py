# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Labels of feature blocks (the path of the h5ad file), in the formats of all releases."""

import json
import pathlib
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from bionemo.core.errors import DataError, FormatError, MissingFileError


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
        except ValueError as error:
            raise FormatError(f"{modern}: is no JSON ({error}). Convert the archive again.") from error
        if not isinstance(labels, list):
            raise FormatError(f"{modern}: expected a list of text or null, found {type(labels).__name__}.")
        return labels
    if not legacy.exists():
        raise MissingFileError(f"No labels file found in {folder}. Expected labels.json or labels.npy.")
    try:
        stored = np.load(legacy, allow_pickle=False)
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
    except (pickle.UnpicklingError, ValueError, EOFError, TypeError, AttributeError, IndexError) as error:
        warnings.warn(
            f"The labels in '{legacy}' are pickled objects that are not decoded ({error}); they are set to None.",
            FutureWarning,
            stacklevel=4,
        )
        return [None] * num_blocks


def _decode_pickled(path: Path) -> list[str | None]:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        reader(file)
        labels = _LabelUnpickler(file).load()
    if not isinstance(labels, np.ndarray):
        raise ValueError(f"found a {type(labels).__name__}")
    decoded = labels.ravel().tolist()
    if not all(label is None or isinstance(label, str | pathlib.PurePath) for label in decoded):
        raise ValueError("found other objects than paths and text")
    return [None if label is None else str(label) for label in decoded]


class _LabelUnpickler(pickle.Unpickler):
    """Builds NumPy object arrays of text and paths; every other global is refused."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        """Only the whitelist; paths of any system become pure paths, which touch no disk."""
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _reconstruct
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if module in ("pathlib", "pathlib._local"):
            if name in ("PosixPath", "PurePosixPath"):
                return pathlib.PurePosixPath
            if name in ("WindowsPath", "PureWindowsPath"):
                return pathlib.PureWindowsPath
        raise pickle.UnpicklingError(f"{module}.{name} is not a label")


def _reconstruct(kind: Any, shape: Any, typecode: Any) -> np.ndarray:
    """What NumPy's function of this name does, for plain arrays alone."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"{kind} is not a label array")
    return np.ndarray.__new__(np.ndarray, shape, typecode)
