# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Load pickles of plain data from any source: no code runs, nothing crashes, memory stays within a limit.

A pickle names the functions that rebuild its objects, and ``pickle.loads`` calls them. Here a name is looked up in a
table instead: containers and scalars of Python, OrderedDict, NumPy arrays, scalars and dtypes, and what the caller
adds. NumPy's own constructors are not in it; functions that validate what they are given take their place.
"""

import collections
import functools
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from bionemo.core._pickle_machine import Global, Pending, PickleMachine, RestrictedPickleError, checked_key


__all__ = [
    "Pending",
    "RestrictedPickleError",
    "RestrictedUnpickler",
    "check_pickles",
    "read_pickle",
    "restricted_loads",
]

MIN_MEMORY_BYTES = 256 * 2**20
"""Memory that any pickle may take; a large one may take 64 times its own size."""
_MEMORY_FACTOR = 64
_MAX_DEPTH = 100
_REFUSAL = "is not loaded (only Python containers and scalars, OrderedDict and NumPy arrays are)"


class RestrictedUnpickler:
    """Load pickles that follow each other in memory.

    Args:
        data: One pickle or several, of any protocol.
        extra: (module, name) to what is allowed beside plain data: a function to call in the place of the one that is
            named, which must validate its arguments, or an object. May be a function that looks a name up and returns
            None for a name that is not allowed.
        refusal: End of the message about a name that is not allowed: ``the pickle asks for 'x.y', which {refusal}``.
        persistent_load: Called with the id of each persistent object; such ids are refused unless it is given.
        max_memory_bytes: Bound for the estimated size of what the pickle makes beyond its own bytes; 256 MiB or 64
            times ``data`` unless given.
    """

    def __init__(
        self,
        data: bytes,
        *,
        extra: Mapping[tuple[str, str], Any] | Callable[[str, str], Any] | None = None,
        refusal: str = _REFUSAL,
        persistent_load: Callable[[Any], Any] | None = None,
        max_memory_bytes: int | None = None,
    ) -> None:
        if max_memory_bytes is None:
            max_memory_bytes = max(MIN_MEMORY_BYTES, _MEMORY_FACTOR * len(data))
        self._extra = extra
        self._machine = PickleMachine(
            data,
            self._find,
            refusal=refusal,
            persistent_load=persistent_load,
            max_memory_bytes=max_memory_bytes,
        )

    @property
    def position(self) -> int:
        """Where the next pickle begins, in bytes."""
        return self._machine.position

    def load(self) -> Any:
        """Load the next pickle.

        Raises:
            RestrictedPickleError: It is damaged, asks for a name that is not allowed, takes more memory than allowed
                or nests objects deeper than 100 levels.
        """
        try:
            value = self._machine.load()
            _check_graph(value)
        except RestrictedPickleError:
            raise
        except Exception as error:  # a damaged pickle provokes any exception
            raise RestrictedPickleError(
                f"the pickle is damaged: {type(error).__name__} at byte {self.position}: {error}"
            ) from error
        return value

    def _find(self, module: str, name: str) -> Any:
        found = _find_plain(module, name)
        if found is None and self._extra is not None:
            found = self._extra(module, name) if callable(self._extra) else self._extra.get((module, name))
        return found


def restricted_loads(
    data: bytes,
    *,
    extra: Mapping[tuple[str, str], Any] | Callable[[str, str], Any] | None = None,
    refusal: str = _REFUSAL,
    max_memory_bytes: int | None = None,
) -> Any:
    """Load one pickle of plain data; the arguments are those of `RestrictedUnpickler`.

    Raises:
        RestrictedPickleError: The pickle is damaged, asks for more than plain data, or exceeds a limit.

    >>> import pickle
    >>> restricted_loads(pickle.dumps({"TP53": 7, "counts": [1.5, None]}))
    {'TP53': 7, 'counts': [1.5, None]}
    """
    return RestrictedUnpickler(data, extra=extra, refusal=refusal, max_memory_bytes=max_memory_bytes).load()


def read_pickle(
    path: str | os.PathLike[str],
    *,
    extra: Mapping[tuple[str, str], Any] | Callable[[str, str], Any] | None = None,
    refusal: str = _REFUSAL,
    what: str = "pickle of plain data",
    max_file_bytes: int = 2**30,
) -> Any:
    """Load a pickle file of plain data; ``what`` names its kind in messages.

    Raises:
        RestrictedPickleError: As `restricted_loads`, or the file is larger than ``max_file_bytes``; names the file.
        OSError: The file cannot be read.
    """
    path = Path(path)
    if (size := path.stat().st_size) > max_file_bytes:
        raise RestrictedPickleError(f"{path}: {size:,} bytes, expected a {what} of at most {max_file_bytes:,}.")
    try:
        return restricted_loads(path.read_bytes(), extra=extra, refusal=refusal)
    except RestrictedPickleError as error:
        raise RestrictedPickleError(f"{path}: not read as a {what}: {error}.") from error


def check_pickles(data: bytes, count: int = 1) -> None:
    """Check pickles for another restricted loader: that it runs into no key of endless depth and no size limit.

    Functions that are named are not called; objects take the place of what they would return.

    Raises:
        RestrictedPickleError: One of the first ``count`` pickles in ``data`` is damaged or exceeds a limit.
    """
    machine = PickleMachine(
        data,
        lambda module, name: _PLAIN.get((module, name), _Anything),
        refusal=_REFUSAL,
        persistent_load=_Anything,
        max_memory_bytes=max(MIN_MEMORY_BYTES, _MEMORY_FACTOR * len(data)),
    )
    try:
        for _ in range(count):
            machine.load()
    except RestrictedPickleError:
        raise
    except Exception as error:
        raise RestrictedPickleError(f"the pickle is damaged: {type(error).__name__}: {error}") from error


class _Anything(Pending):
    """Stands for the result of a function that is not called."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def build(self, state: Any) -> "_Anything":
        return self


def _check_graph(root: Any) -> None:
    """Refuse what is nested too deep for Python's own recursion, and objects that were never completed."""
    level, seen = [root], set()
    for _ in range(_MAX_DEPTH):
        children: list[Any] = []
        for parent in level:
            if isinstance(parent, Global | Pending):
                raise RestrictedPickleError("the pickle holds a class or function, or an array without its content")
            items = _items(parent)
            if items and id(parent) not in seen and not _LEAVES.issuperset(map(type, items)):
                seen.add(id(parent))
                children += items
        if not children:
            return
        level = children
    raise RestrictedPickleError(f"the pickle nests objects deeper than {_MAX_DEPTH} levels")


def _items(parent: Any) -> Collection[Any]:
    if isinstance(parent, dict):
        return parent.values()
    if isinstance(parent, list | tuple):
        return parent
    dtype = getattr(parent, "dtype", None)  # of arrays and tensors
    return parent.ravel().tolist() if getattr(dtype, "hasobject", False) else ()


@functools.lru_cache(maxsize=256)
def _find_plain(module: str, name: str) -> Global | None:
    function = _PLAIN.get((module, name))
    if function is None and module.partition(".")[0] == "numpy":
        from bionemo.core._pickled_numpy import ARRAY_FUNCTIONS

        function = ARRAY_FUNCTIONS.get((module, name))
    return None if function is None else Global(f"{module}.{name}", function)


def _ordered_dict(items: Any = ()) -> collections.OrderedDict[Any, Any]:
    _expect(type(items) in (list, tuple))
    return collections.OrderedDict((checked_key(key), value) for key, value in items)


def _set(items: Any = ()) -> set[Any]:
    _expect(type(items) in (list, tuple))
    return set(map(checked_key, items))


def _frozenset(items: Any = ()) -> frozenset[Any]:
    _expect(type(items) in (list, tuple))
    return frozenset(map(checked_key, items))


def _bytearray(content: Any = b"", encoding: str = "latin-1") -> bytearray:
    return bytearray(_encode(content, encoding) if isinstance(content, str) else _bytes(content))


def _bytes(content: Any = b"") -> bytes:
    _expect(type(content) is bytes)
    return bytes(content)


def _encode(text: Any, encoding: Any) -> bytes:
    """Rebuild bytes as protocols 0 to 2 store them: as text in latin-1."""
    if encoding not in ("latin1", "latin-1"):
        raise RestrictedPickleError(f"the pickle asks for the codec {encoding!r}; expected 'latin1'")
    return str(text).encode("latin-1")


def _complex(real: Any, imag: Any = 0.0) -> complex:
    return complex(float(real), float(imag))


def _range(*bounds: Any) -> range:
    return range(*bounds)


def _slice(*bounds: Any) -> slice:
    _expect(all(bound is None or type(bound) is int for bound in bounds))
    return slice(*bounds)


def _expect(condition: bool) -> None:
    if not condition:
        raise RestrictedPickleError("the pickle calls a constructor with unexpected arguments")


_LEAVES = {bool, int, float, complex, str, bytes, bytearray, type(None)}
_PLAIN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytearray"): _bytearray,
    ("builtins", "bytes"): _bytes,
    ("builtins", "complex"): _complex,
    ("builtins", "frozenset"): _frozenset,
    ("builtins", "range"): _range,
    ("builtins", "set"): _set,
    ("builtins", "slice"): _slice,
}
