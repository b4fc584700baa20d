# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Reading the pickled dictionaries of the original releases without running what a pickle may name.

They are plain dictionaries of text, numbers and NumPy scalars. Everything else is refused, and NumPy's own
constructors are never called: small stand-ins of this module take their place.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import FormatError


class _Dtype:
    """What a pickle says about a NumPy dtype: its type string, then its byte order."""

    def __init__(self, spec: str, *_: Any):
        self.dtype = np.dtype(str(spec))
        if self.dtype.kind not in "biuf":
            raise pickle.UnpicklingError(f"dtype {spec!r} is no number")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"byte order {state[1]!r}")
        self.dtype = self.dtype.newbyteorder(state[1])


def _scalar(dtype: _Dtype, data: bytes | str) -> int | float | bool:
    raw = data.encode("latin-1") if isinstance(data, str) else data  # text in pickles of Python 2
    if not isinstance(dtype, _Dtype) or len(raw) != dtype.dtype.itemsize:
        raise pickle.UnpicklingError("a damaged NumPy scalar")
    value: int | float | bool = np.frombuffer(raw, dtype=dtype.dtype)[0].item()
    return value


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    """How the old protocols write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


_ALLOWED = {
    ("_codecs", "encode"): _bytes,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a dictionary of genes does not need")
        return _ALLOWED[module, name]


def read_pickled_dictionary(path: Path) -> dict[Any, Any]:
    """Read a dictionary of text and numbers; NumPy scalars become Python numbers.

    Raises:
        FormatError: The file holds something else, or names code to run.
    """
    try:
        content = _Unpickler(io.BytesIO(path.read_bytes())).load()
    except OSError:
        raise
    except Exception as error:
        raise FormatError(f"{path}: not read as a pickled dictionary: {error}.") from error
    if type(content) is not dict:
        raise FormatError(f"{path}: holds a {type(content).__name__}, expected a dictionary.")
    return content
