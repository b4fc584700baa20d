# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Unpickle samples: plain data, NumPy arrays and torch tensors, by the restricted unpickler of `bionemo.core`.

Tensors are rebuilt over memory that the pickle holds and never reach outside of it; torch is imported when a pickle
holds one.
"""

import functools
import io
import re
import zipfile
import zlib
from collections import OrderedDict
from typing import Any

from bionemo.core.restricted_pickle import (
    Pending,
    RestrictedPickleError,
    RestrictedUnpickler,
    check_pickles,
    restricted_loads,
)


_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_REFUSAL = (
    "is not loaded by default (only builtin containers and scalars, OrderedDict, NumPy arrays, torch tensors are). "
    "If you trust where the tar comes from, pass allow_pickle=True"
)
_MIN_UNPACKED_BYTES, _MAX_UNPACKED_FACTOR = 256 * 2**20, 16


def safe_loads(data: bytes) -> Any:
    """Unpickle ``data`` if it consists of plain data, arrays and tensors.

    Args:
        data: One pickle of any protocol.

    Returns:
        The object. Tensors are on the CPU.

    Raises:
        RestrictedPickleError: Another class or function is named (the message says which), the pickle is damaged, or
            its objects would take too much memory.

    >>> import pickle
    >>> safe_loads(pickle.dumps({"ids": [1, 2]}))
    {'ids': [1, 2]}
    """
    return restricted_loads(data, extra=_find_torch, refusal=_REFUSAL)


def safe_torch_load(data: bytes) -> Any:
    """Load a file written by ``torch.save`` that holds tensors and plain containers only; tensors are on the CPU.

    Raises:
        RestrictedPickleError: Another class or function is named (the message says which), the file is damaged, or it
            unpacks to more than 256 MiB and 16 times its size.
    """
    import torch

    _check_torch_file(data)
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        # torch's own text has many lines and recommends to switch the protection off
        if refused := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise RestrictedPickleError(f"the pickle asks for '{refused[1]}', which {_REFUSAL}") from error
        reason = re.search(r"WeightsUnpickler error:\s*([^\n]+)", str(error))
        detail = reason[1] if reason else str(error).partition("\n")[0]
        raise RestrictedPickleError(f"torch cannot load it as plain tensors and containers ({detail})") from error


def _check_torch_file(data: bytes) -> None:
    """Refuse what ends the process in ``torch.load``: a compressed zip of any size, a key of 100,000 nested tuples."""
    if data[:2] != b"PK":
        check_pickles(data, count=5 if _TORCH_MAGIC.to_bytes(10, "little") in data[:20] else 1)
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
            if unpacked > max(_MIN_UNPACKED_BYTES, _MAX_UNPACKED_FACTOR * len(data)):
                raise RestrictedPickleError(
                    f"{len(data):,} bytes unpack to {unpacked:,}; torch.save does not compress"
                )
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    check_pickles(archive.read(name))
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, RestrictedPickleError):
            raise
        raise RestrictedPickleError(f"torch cannot load it as plain tensors and containers ({error})") from error


@functools.lru_cache(maxsize=256)
def _find_torch(module: str, name: str) -> Any:
    """Return what takes the place of a name of torch, or None."""
    if module == "torch":
        import torch

        value = getattr(torch, name, None) if name.isidentifier() else None
        return value if isinstance(value, torch.dtype) else {"Size": _size, "device": _device}.get(name)
    return _FUNCTIONS.get((module, name))


@functools.lru_cache(maxsize=256)
def _storage_dtype(module: str, name: str) -> Any:
    """Return the dtype of one of torch's storage types, or None."""
    import torch

    dtypes = {storage: dtype for dtype, storage in torch.storage._dtype_to_storage_type_map().items()}
    is_allowed = module == "torch" and name.endswith("Storage") and not name.startswith("Q")  # quantized
    return dtypes.get(name) if is_allowed else None


class _Memory(Pending):
    """The storage of a tensor; not an object of the user's."""

    __slots__ = ("nbytes", "num_elements", "storage")

    def __init__(self, storage: Any) -> None:
        import torch

        super().__init__()
        if not isinstance(storage, torch.storage.TypedStorage):
            raise RestrictedPickleError(f"the memory of a tensor is of type {type(storage).__name__}")
        self.storage, self.num_elements, self.nbytes = storage, storage._size(), storage._nbytes()


def _load_storage(data: Any) -> _Memory:
    """Load a tensor's memory as ``pickle.dumps(tensor)`` embeds it: a file of torch's old format with one storage.

    ``torch.load(weights_only=True)`` reads it several times slower than the rest of a sample; whatever does not look
    exactly as expected goes there.
    """
    import torch

    if type(data) is not bytes:
        raise RestrictedPickleError(f"the memory of a tensor is of type {type(data).__name__}")
    pickles = RestrictedUnpickler(data, extra=_storage_dtype, persistent_load=lambda identity: identity)
    try:
        magic, protocol, _, identity, keys = (pickles.load() for _ in range(5))
        kind, dtype, key, _, num_elements, view = identity
    except (RestrictedPickleError, ValueError, TypeError):
        return _Memory(safe_torch_load(data))
    memory = bytearray(data[pickles.position + 8 :])  # behind the number of elements once more
    is_known = (magic, protocol, kind, keys, view) == (_TORCH_MAGIC, 1001, "storage", [key], None)
    if not is_known or not isinstance(dtype, torch.dtype) or not len(memory) == num_elements * dtype.itemsize > 0:
        return _Memory(safe_torch_load(data))
    untyped = torch.frombuffer(memory, dtype=torch.uint8).untyped_storage()
    return _Memory(torch.storage.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True))


def _rebuild_tensor(
    memory: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> Any:
    """Return a tensor over a storage, all of whose elements lie inside of it."""
    import torch
    import torch._utils

    numbers = (offset, *size, *stride)
    if not isinstance(memory, _Memory) or not all(type(n) is int and n >= 0 for n in numbers):
        raise RestrictedPickleError("a tensor over something else than a storage, or of impossible sizes")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= memory.num_elements:
        raise RestrictedPickleError(
            f"a tensor of shape {tuple(size)} reaches beyond its {memory.num_elements} elements"
        )
    if hooks or metadata:
        raise RestrictedPickleError("a tensor with hooks or metadata")
    return torch._utils._rebuild_tensor_v2(memory.storage, offset, size, stride, bool(requires_grad), OrderedDict())


def _rebuild_parameter(data: Any, requires_grad: Any, hooks: Any) -> Any:
    import torch

    if not isinstance(data, torch.Tensor) or hooks:
        raise RestrictedPickleError("a parameter without a tensor, or with hooks")
    return torch.nn.Parameter(data, bool(requires_grad))


def _size(items: Any) -> Any:
    import torch

    return torch.Size(items)


def _device(kind: Any, *index: Any) -> Any:
    import torch

    return torch.device(kind, *index)


_FUNCTIONS = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch.storage", "_load_from_bytes"): _load_storage,
}
