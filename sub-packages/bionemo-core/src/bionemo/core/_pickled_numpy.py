# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""NumPy arrays, scalars and dtypes out of pickles, without NumPy's own constructors and their ``__setstate__``.

Those believe what a pickle states: a dtype whose object flag is cleared, or an array of objects over a buffer of
bytes, makes an attacker's numbers into addresses. Here a dtype is made from a name on a list, an array from bytes of
exactly the length of its shape, and an array of objects from a list.
"""

import functools
import math
import re
from typing import Any

import numpy as np

from bionemo.core._pickle_machine import Global, Pending, RestrictedPickleError


_DTYPE_NAME = re.compile(r"[<>=|]?(b1|[iu][1248]|f2|f4|f8|f12|f16|c8|c16|c24|c32|[SUV]\d{1,9}|[mM]8|O8?)")
_TIME_UNIT = re.compile(r"Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as|generic")
_MAX_FIELDS, _MAX_ITEM_BYTES, _MAX_DIMENSIONS = 1_000, 2**30, 32


class PendingDtype(Pending):
    """A dtype, before its byte order, fields or time unit are known."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        _plain_dtype(name, "=")
        self._name = name

    def build(self, state: Any) -> np.dtype[Any]:
        """Return the dtype; the state: version, byte order, subarray, names, fields, size, alignment, flags, time."""
        order, subarray, names, fields, size = state[1:6]
        if order not in ("<", ">", "=", "|"):
            raise RestrictedPickleError(f"the byte order {order!r} of a dtype")
        if subarray is None and names is None and self._name[0] not in "mM":
            return _plain_dtype(self._name, order)
        dtype = _plain_dtype(self._name, "=")
        if dtype.kind in "mM":
            unit, number = (state[8][1][0], state[8][1][1]) if len(state) > 8 else ("generic", 1)
            unit = unit.decode() if isinstance(unit, bytes) else unit
            if not _TIME_UNIT.fullmatch(unit) or state[8][1][2] != 1:
                raise RestrictedPickleError(f"the time unit {state[8][1]!r} of a dtype")
            dtype = dtype if unit == "generic" else np.dtype(f"{dtype.kind}8[{int(number)}{unit}]")
        elif dtype.kind == "V" and subarray is not None:
            base, shape = subarray
            dtype = np.dtype((as_dtype(base), as_shape(shape)))
        elif dtype.kind == "V" and names is not None:
            if len(names) > _MAX_FIELDS or any(len(fields[name]) != 2 for name in names):
                raise RestrictedPickleError(f"a dtype of more than {_MAX_FIELDS} fields, or with titles")
            formats, offsets = zip(*((as_dtype(fields[name][0]), fields[name][1]) for name in names), strict=True)
            dtype = np.dtype(
                {"names": list(names), "formats": formats, "offsets": offsets, "itemsize": size},
                align=bool(state[7] & 0x80),
            )
        if dtype.hasobject and dtype != np.dtype(object):
            raise RestrictedPickleError("a dtype with objects inside of records")
        if dtype.itemsize > _MAX_ITEM_BYTES or _num_fields(dtype) > _MAX_FIELDS:
            raise RestrictedPickleError(f"a dtype of more than 1 GiB or {_MAX_FIELDS} fields")
        return dtype if order in "=|" else dtype.newbyteorder(order)


@functools.lru_cache(maxsize=256)
def _plain_dtype(name: str, order: Any) -> np.dtype[Any]:
    if not _DTYPE_NAME.fullmatch(name):
        raise RestrictedPickleError(f"the dtype {name[:50]!r} is not supported")
    dtype = np.dtype(name)
    if dtype.itemsize > _MAX_ITEM_BYTES:
        raise RestrictedPickleError(f"a dtype of {dtype.itemsize} bytes")
    return dtype if order in "=|" else dtype.newbyteorder(order)


class PendingArray(Pending):
    """An array, before its shape, dtype and content are known."""

    __slots__ = ()

    def build(self, state: Any) -> np.ndarray:
        """Return the array; the state is (version, shape, dtype, is Fortran order, bytes or list)."""
        shape, dtype, is_fortran, content = state[-4:]
        order: Any = "F" if is_fortran else "C"
        if as_dtype(dtype).hasobject:
            return _object_array(content, as_shape(shape), order)
        raw = content.encode("latin-1") if isinstance(content, str) else content  # text in pickles of Python 2
        return array_over(raw, dtype, shape, order).copy(order)


def make_dtype(name: Any, *_: Any) -> PendingDtype:
    """Take the place of ``numpy.dtype(name, align, copy)``."""
    name = name if isinstance(name, str) else str(name, "ascii")
    if not name:
        raise RestrictedPickleError("a dtype without a name")
    return PendingDtype(name)


def make_array(kind: Any, *_: Any) -> PendingArray:
    """Take the place of ``numpy.core.multiarray._reconstruct(ndarray, (0,), b"b")``."""
    if type(kind) is not Global or kind.name != "numpy.ndarray":
        raise RestrictedPickleError("an array of another class than numpy.ndarray")
    return PendingArray()


def make_scalar(dtype: Any, content: bytes | str) -> Any:
    """Take the place of ``numpy.core.multiarray.scalar``."""
    raw = content.encode("latin-1") if isinstance(content, str) else content
    return array_over(raw, dtype, (), "C")[()]


def array_over(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """Return an array over bytes; takes the place of ``numpy.core.numeric._frombuffer``."""
    dtype, shape = as_dtype(dtype), as_shape(shape)
    if not isinstance(raw, bytes | bytearray) or dtype.hasobject or order not in ("C", "F"):
        raise RestrictedPickleError(f"an array of {dtype} over an object of type {type(raw).__name__}")
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise RestrictedPickleError(f"an array of {shape} {dtype} over {len(raw)} bytes")
    if not dtype.itemsize:
        raise RestrictedPickleError(f"an array of {dtype}, whose items have no size")
    if not raw:
        return np.empty(shape, dtype)
    return np.frombuffer(raw, dtype).reshape(shape, order=order)  # type: ignore[call-overload,no-any-return]


def as_dtype(value: Any) -> np.dtype[Any]:
    """Return a dtype whose state is known."""
    if not isinstance(value, np.dtype):
        raise RestrictedPickleError(f"an object of type {type(value).__name__} in the place of a dtype")
    return value


def as_shape(value: Any) -> tuple[int, ...]:
    """Return a shape: a tuple of sizes of 0 or more."""
    if type(value) is not tuple or len(value) > _MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in value):
        raise RestrictedPickleError("the shape of an array")
    return value


def _object_array(content: Any, shape: tuple[int, ...], order: Any) -> np.ndarray:
    if type(content) is not list or len(content) != math.prod(shape):
        raise RestrictedPickleError("an array of objects whose length is not that of its shape")
    array = np.empty(shape, object, order)
    for position, item in enumerate(content):
        array.flat[position] = item
    return array


def _num_fields(dtype: np.dtype[Any]) -> int:
    """Count the fields of all levels."""
    if dtype.subdtype is not None:
        return 1 + _num_fields(dtype.subdtype[0])
    return sum(1 + _num_fields(field[0]) for field in (dtype.fields or {}).values())


ARRAY_FUNCTIONS = {
    ("numpy", "dtype"): make_dtype,
    ("numpy", "ndarray"): make_array,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", make_array),
            ("multiarray", "scalar", make_scalar),
            ("numeric", "_frombuffer", array_over),
        )
    },
}
