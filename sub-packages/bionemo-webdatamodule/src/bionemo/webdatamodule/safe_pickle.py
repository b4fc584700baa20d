# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Unpickle plain data and nothing else.

A pickle names the classes and functions that rebuild it, and ``pickle.loads`` calls whatever is named. Here a name is
looked up in a fixed table instead: builtin containers and scalars, OrderedDict, NumPy arrays and scalars, torch
tensors. Nothing is imported on behalf of the data. What the table holds cannot be changed by a pickle either: builtin
types and C functions have no writable attributes, and Python functions are held inside :class:`_Sealed`.
"""

import collections
import io
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np


_BUILTINS = ("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "range", "set")
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_MORE_BUILTINS = ("slice", "str", "tuple")


class _Sealed:
    """A function that can be called and not altered: a pickle can set attributes on any object that it names."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("read only")


def safe_loads(data: bytes) -> Any:
    """Unpickle ``data`` if it consists of whitelisted types only.

    Args:
        data: One pickle of any protocol.

    Returns:
        The object. Tensors are on the CPU.

    Raises:
        pickle.UnpicklingError: Another class or function is named (the message says which), or the pickle is damaged.
        Exception: What else a damaged pickle provokes (EOFError, ValueError, TypeError, ...), as for pickle.loads.
    """
    return _SafeUnpickler(io.BytesIO(data)).load()


def safe_torch_load(data: bytes) -> Any:
    """Load a file written by ``torch.save`` that holds tensors and plain containers only; tensors are on the CPU.

    Raises:
        pickle.UnpicklingError: Another class or function is named (the message says which), or the file is damaged.
    """
    import torch

    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own text has many lines and recommends to switch the protection off
        if refused := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise pickle.UnpicklingError(_refusal(refused[1])) from error
        reason = re.search(r"WeightsUnpickler error:\s*([^\n]+)", str(error))
        detail = reason[1] if reason else str(error).partition("\n")[0]
        raise pickle.UnpicklingError(f"torch cannot load it as plain tensors and containers ({detail})") from error


def _load_storage(data: bytes) -> Any:
    """Load a tensor's memory as ``pickle.dumps(tensor)`` embeds it: a file of torch's old format with one storage.

    ``torch.load(weights_only=True)`` reads it with an unpickler in Python, several times slower than the rest of a
    sample. Here its five pickles are read by the one in C, which is allowed to name torch's storage types alone, and
    whatever does not look exactly as expected goes to torch.
    """
    import torch

    file = io.BytesIO(data)
    try:
        magic, protocol, _, identity, keys = (_StorageUnpickler(file).load() for _ in range(5))
        kind, dtype, key, _, num_elements, view = identity
        file.seek(8, io.SEEK_CUR)  # the number of elements once more
        memory = bytearray(data[file.tell() :])
        if (
            (magic, protocol, kind, keys, view) == (_TORCH_MAGIC, 1001, "storage", [key], None)
            and isinstance(dtype, torch.dtype)
            and len(memory) == num_elements * dtype.itemsize > 0
        ):
            untyped = torch.frombuffer(memory, dtype=torch.uint8).untyped_storage()
            return torch.storage.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError):
        pass
    return safe_torch_load(data)


class _StorageUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        dtype = _STORAGE_DTYPES.get(name) if module == "torch" else None
        if dtype is None:
            raise pickle.UnpicklingError(f"{module}.{name} is no storage type")
        return dtype

    def persistent_load(self, identity: Any) -> Any:
        return identity


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _TABLE.get((module, name))
        if found is None and module.partition(".")[0] == "torch":
            _add_torch()
            found = _TABLE.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(_refusal(f"{module}.{name}"))
        return found


def _refusal(name: str) -> str:
    return (
        f"the pickle asks for '{name}', which is not loaded by default (only builtin containers and scalars, "
        "OrderedDict, NumPy arrays, torch tensors are). If you trust where the tar comes from, pass allow_pickle=True"
    )


def _encode(text: str, encoding: str) -> bytes:
    """Rebuild bytes as protocols 0 to 2 store them: as text in latin-1."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"the pickle asks for the codec {encoding!r}; expected 'latin1'")
    return text.encode("latin1")


def _numpy_functions() -> dict[str, dict[str, Any]]:
    """Take NumPy's own rebuilding functions from pickles of an array and a scalar: their homes changed in NumPy 2."""
    array = np.zeros(1)
    reconstruct = array.__reduce__()[0]
    from_buffer: Any = array.__reduce_ex__(5)[0]
    return {
        "multiarray": {"_reconstruct": reconstruct, "scalar": np.float64(0).__reduce__()[0]},
        "numeric": {"_frombuffer": _Sealed(from_buffer)},
    }


def _build_table() -> dict[tuple[str, str], Any]:
    import builtins

    table: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("_codecs", "encode"): _Sealed(_encode),
        ("__builtin__", "xrange"): range,  # protocols 0 to 2 use Python 2's names
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }
    for name in _BUILTINS + _MORE_BUILTINS:
        for home in ("builtins", "__builtin__"):
            table[home, name] = getattr(builtins, name)
    for module, functions in _numpy_functions().items():
        for package in ("numpy.core", "numpy._core"):
            for name, function in functions.items():
                table[f"{package}.{module}", name] = function
    return table


def _add_torch() -> None:
    """Add what rebuilds tensors; torch is imported only when a pickle holds one."""
    import torch
    import torch._utils

    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        _TABLE["torch._utils", name] = _Sealed(getattr(torch._utils, name))
    _TABLE["torch.storage", "_load_from_bytes"] = _Sealed(_load_storage)
    _TABLE["torch", "Size"] = torch.Size
    _TABLE["torch", "device"] = torch.device
    for dtype, storage in torch.storage._dtype_to_storage_type_map().items():
        if not storage.startswith("Q"):  # quantized
            _STORAGE_DTYPES[storage] = dtype
    for name, value in vars(torch).items():
        if isinstance(value, torch.dtype):
            _TABLE["torch", name] = value


_STORAGE_DTYPES: dict[str, Any] = {}
_TABLE = _build_table()
