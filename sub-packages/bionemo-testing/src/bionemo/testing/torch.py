# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Compare nested tensors, and ask the machine what it can do."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


def recursive_detach(x: Any) -> Any:
    """Copy nested lists, tuples and mappings with every tensor detached, on the CPU and with memory of its own.

    Named tuples keep their type; mappings become plain dicts; what is neither stays the same object.
    """
    import torch

    if isinstance(x, torch.Tensor):
        return x.detach().cpu().clone()
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(recursive_detach, x))
    if isinstance(x, list | tuple):
        return type(x)(map(recursive_detach, x))
    if isinstance(x, Mapping):
        return {key: recursive_detach(value) for key, value in x.items()}
    return x


def recursive_assert_approx_equal(x: Any, y: Any, atol: float = 1e-4, rtol: float = 1e-4) -> None:
    """Assert that two nested structures are equal: numbers, tensors and arrays within |x-y| <= atol + rtol*|y|.

    With both tolerances 0 the values must be the same bit for bit, but for the sign of zero. NaN equals nothing.

    Raises:
        AssertionError: With the key path, both values and the largest difference of the first place that differs.
    """
    for path, text in differences(x, y, atol, rtol):
        raise AssertionError(f"{path}: {text}" if path else text)


def differences(x: Any, y: Any, atol: float, rtol: float, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (key path, what differs) of every leaf that differs, in order."""
    import torch

    if isinstance(x, torch.Tensor | np.ndarray | np.generic) or isinstance(y, torch.Tensor | np.ndarray | np.generic):
        yield from _array_difference(x, y, atol, rtol, path)
    elif isinstance(x, Mapping) and isinstance(y, Mapping):
        if x.keys() != y.keys():
            yield path, f"Keys differ: only in the first {_keys(x, y)}, only in the second {_keys(y, x)}"
            return
        for key in x:
            yield from differences(x[key], y[key], atol, rtol, f"{path}[{key!r}]")
    elif _is_sequence(x) and _is_sequence(y):
        if len(x) != len(y):
            yield path, f"Length mismatch: {len(x)} vs {len(y)}"
            return
        for index, (a, b) in enumerate(zip(x, y, strict=True)):
            yield from differences(a, b, atol, rtol, f"{path}[{index}]")
    elif isinstance(x, float) and isinstance(y, float):
        yield from _array_difference(x, y, atol, rtol, path)
    elif x != y:
        yield path, f"{x!r} vs {y!r}"


def _is_sequence(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str | bytes)


def _keys(x: Mapping[Any, Any], y: Mapping[Any, Any]) -> list[str]:
    return sorted(map(repr, x.keys() - y.keys()))


def _array_difference(x: Any, y: Any, atol: float, rtol: float, path: str) -> Iterator[tuple[str, str]]:
    a, b = _to_array(x), _to_array(y)
    if a is None or b is None:
        yield path, f"{type(x).__name__} vs {type(y).__name__}"
        return
    if a.shape != b.shape:
        yield path, f"Shape mismatch: {a.shape} vs {b.shape}"
        return
    same = a == b
    if same.all():
        return
    with np.errstate(invalid="ignore"):
        gaps = np.abs(a.astype(np.float64) - b.astype(np.float64))
        if atol or rtol:
            same |= gaps <= atol + rtol * np.abs(b)
    if same.all():
        return
    gaps = np.where(same, 0.0, np.where(np.isnan(gaps), np.inf, gaps))
    at = np.unravel_index(int(gaps.argmax()), gaps.shape)
    where = f" at {tuple(map(int, at))}" if a.shape else ""
    gap = f"largest difference {gaps.max():.3e}" if np.isfinite(gaps.max()) else "not a number or infinite"
    yield path, f"{a[at]!s} vs {b[at]!s}{where}, {gap}, {int((~same).sum())} of {same.size} values differ"


def _to_array(x: Any) -> np.ndarray | None:
    """Make an array of any number, tensor or array; bfloat16, which NumPy lacks, is widened."""
    import torch

    if isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        return np.asarray((x.float() if x.dtype == torch.bfloat16 else x).numpy())
    if isinstance(x, np.ndarray | np.generic | int | float | complex):
        return np.asarray(x)
    return None


def check_fp8_support(device_id: int = 0) -> tuple[bool, str, str]:
    """Check whether a GPU multiplies in FP8: compute capability 8.9 (Ada) and later.

    Returns:
        The answer, the capability as ``major.minor``, and a sentence.
    """
    import torch

    if not torch.cuda.is_available():
        return False, "0.0", "CUDA not available"
    major, minor = torch.cuda.get_device_capability(device_id)
    supported = (major, minor) >= (8, 9)
    name = torch.cuda.get_device_name(device_id)
    text = f"{name} has compute capability {major}.{minor}; FP8 needs 8.9 or later"
    return supported, f"{major}.{minor}", text


def get_device_and_memory_allocated() -> str:
    """Describe the current GPU and its memory, one ``name: value`` per line; sizes in GiB.

    Raises:
        RuntimeError: There is no GPU.
    """
    import torch

    index = torch.cuda.current_device()
    properties = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    allocated, reserved = torch.cuda.memory_allocated(index), torch.cuda.max_memory_reserved(index)
    lines = {
        "current device index": index,
        "current device uuid": properties.uuid,
        "current device name": properties.name,
        "memory, total on device": f"{total / 2**30:.3f} GiB",
        "memory, available on device": f"{free / 2**30:.3f} GiB",
        "memory allocated for tensors etc": f"{allocated / 2**30:.3f} GiB",
        "max memory reserved for tensors etc": f"{reserved / 2**30:.3f} GiB",
    }
    return "".join(f"{name}: {value}\n" for name, value in lines.items())
