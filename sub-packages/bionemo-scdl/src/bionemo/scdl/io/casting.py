# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Converting values to another dtype and accounting for what that changes."""

from dataclasses import dataclass

import numpy as np


@dataclass
class CastReport:
    """What a conversion changed, summed over blocks.

    Attributes:
        num_changed: Values further from the source than the tolerance, NaN and infinity included.
        max_abs_diff: Greatest finite difference.
        num_nan: NaN that the target cannot hold.
        num_infinite: Infinities that the target cannot hold, and finite values that became infinite.
        num_negative: Negative values that the target cannot hold.
    """

    num_changed: int = 0
    max_abs_diff: float = 0.0
    num_nan: int = 0
    num_infinite: int = 0
    num_negative: int = 0

    def add(self, other: "CastReport") -> None:
        """Add another block's changes."""
        self.num_changed += other.num_changed
        self.max_abs_diff = max(self.max_abs_diff, other.max_abs_diff)
        self.num_nan += other.num_nan
        self.num_infinite += other.num_infinite
        self.num_negative += other.num_negative

    def message(self, prefix: str) -> str:
        """One line for a warning or an error."""
        counts = [f"{self.num_changed} values change"]
        counts += [
            f"{count} {what}"
            for count, what in (
                (self.num_nan, "NaN"),
                (self.num_infinite, "infinite or out of range"),
                (self.num_negative, "negative"),
            )
            if count
        ]
        return (
            f"{prefix}: Downcasted data values for 'data.npy' are not close to original values. "
            f"Max abs diff: {self.max_abs_diff} ({', '.join(counts)})"
        )


def cast_values(values: np.ndarray, dtype: str, tolerance: float) -> tuple[np.ndarray, CastReport]:
    """Convert values and compare the result with the source.

    Args:
        values: Any integers, floats or booleans.
        dtype: Target dtype.
        tolerance: Greatest absolute difference that counts as equal.

    Returns:
        The converted values and the changes.
    """
    target = np.dtype(dtype)
    if _always_fits(values.dtype, target) or not values.size:
        return values.astype(target, copy=False), CastReport()
    with np.errstate(over="ignore", invalid="ignore"):
        stored = values.astype(target)
        same = _equal(stored, values)
    if same.all():
        return stored, CastReport()
    before, after = values[~same], stored[~same]
    with np.errstate(over="ignore", invalid="ignore"):
        # Long double holds 64-bit integers exactly where the platform has it.
        diff = np.abs(after.astype(np.longdouble) - before.astype(np.longdouble))
    is_nan = np.isnan(before) if before.dtype.kind == "f" else np.zeros(before.shape, bool)
    to_unsigned = target.kind == "u"
    is_infinite = ~is_nan & ~(np.isfinite(before) & np.isfinite(after))
    if to_unsigned:
        is_infinite |= ~is_nan & (before.astype(np.longdouble) > np.iinfo(target).max)
    is_negative = ~is_nan & (before < 0) & to_unsigned
    finite = np.isfinite(diff)
    changed = ~finite | (diff > tolerance)
    report = CastReport(
        num_changed=int(changed.sum()),
        max_abs_diff=float(diff[finite].max()) if finite.any() else 0.0,
        num_nan=int(is_nan.sum()),
        num_infinite=int(is_infinite.sum()),
        num_negative=int((is_negative & changed).sum()),
    )
    return stored, report


def _always_fits(source: np.dtype, target: np.dtype) -> bool:
    """Whether every value of a dtype survives; NumPy itself calls 64-bit integers safe in float64."""
    if source.kind in "iu" and target.kind == "f":
        return 8 * source.itemsize <= np.finfo(target).nmant + 1
    return np.can_cast(source, target, "safe")


def _equal(stored: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Where nothing changed; NaN kept as NaN is no change. Integers are compared as integers, never as floats."""
    if values.dtype.kind in "iu" and stored.dtype.kind == "f":
        back = stored.astype(values.dtype)
        # Beyond the range the way back is undefined; there the float is the power of two just above it.
        return np.asarray(
            (back == values) & (stored < np.float64(2) ** (8 * values.dtype.itemsize - (values.dtype.kind == "i")))
        )
    if values.dtype.kind in "iu" and stored.dtype.kind == "u":
        return np.asarray((stored.astype(values.dtype) == values) & (values >= 0))
    if stored.dtype.kind == "u":  # from floats
        in_range = (values >= 0) & (values <= np.nextafter(np.float64(np.iinfo(stored.dtype).max), 0))
        in_range |= (values >= 0) & (values < 2.0 ** (8 * stored.dtype.itemsize))
        return np.asarray(in_range & (stored.astype(values.dtype) == values))
    return np.asarray((stored == values) | (np.isnan(values) & np.isnan(stored)))
