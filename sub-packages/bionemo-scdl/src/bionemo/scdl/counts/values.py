# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Distinguish counts from other values: counts are whole numbers of 0 or more."""

from dataclasses import dataclass

import numpy as np

from bionemo.core.errors import DataError


LOG_MAXIMUM = 20.0
"""Largest value of log-normalized data: the logarithm of counts per 10,000 or per million stays below."""


@dataclass
class ValueSummary:
    """What the stored values of a matrix look like.

    Attributes:
        num_values: Stored values that were looked at.
        minimum: Smallest finite value.
        maximum: Greatest finite value.
        num_negative: Values below 0.
        num_fractional: Finite values that are no whole numbers.
        num_not_finite: NaN and infinities.
    """

    num_values: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf
    num_negative: int = 0
    num_fractional: int = 0
    num_not_finite: int = 0

    @classmethod
    def of(cls, values: np.ndarray) -> "ValueSummary":
        """Summarize [K] values of any numeric dtype."""
        if values.dtype.kind not in "biuf":
            raise DataError(f"values of dtype {values.dtype}; expected numbers")
        if not values.size:
            return cls()
        if values.dtype.kind != "f":
            negative = int(np.count_nonzero(values < 0)) if values.dtype.kind == "i" else 0
            return cls(values.size, float(values.min()), float(values.max()), negative)
        smallest, greatest = float(values.min()), float(values.max())
        is_whole = smallest >= 0 and greatest < np.inf and not (values != np.rint(values)).any()  # false for NaN
        if is_whole:
            return cls(values.size, smallest, greatest)
        finite = values[np.isfinite(values)]
        return cls(
            num_values=values.size,
            minimum=float(finite.min(initial=np.inf)),
            maximum=float(finite.max(initial=-np.inf)),
            num_negative=int(np.count_nonzero(finite < 0)),
            num_fractional=int(np.count_nonzero(finite != np.rint(finite))),
            num_not_finite=values.size - finite.size,
        )

    def add(self, other: "ValueSummary") -> None:
        """Add what was found in other values of the same matrix."""
        self.num_values += other.num_values
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.num_negative += other.num_negative
        self.num_fractional += other.num_fractional
        self.num_not_finite += other.num_not_finite

    @property
    def are_counts(self) -> bool:
        """Whether all values are whole numbers of 0 or more; true where there are none."""
        return not (self.num_negative or self.num_fractional or self.num_not_finite)

    @property
    def kind(self) -> str | None:
        """``"counts"``, ``"other"``, or None where nothing but zeros was seen."""
        if not self.are_counts:
            return "other"
        return "counts" if self.maximum > 0 else None

    def __str__(self) -> str:
        if not self.num_values:
            return "no stored values"
        bounds = f"{self.minimum:.6g} to {self.maximum:.6g}"
        if self.are_counts:
            return f"counts, {bounds}"
        found = [
            f"{number:,} {what}"
            for number, what in (
                (self.num_not_finite, "NaN or infinite"),
                (self.num_negative, "negative"),
                (self.num_fractional, "not whole"),
            )
            if number
        ]
        text = f"no counts: {bounds}, {', '.join(found)} of {self.num_values:,} values looked at"
        is_log = self.num_fractional and not self.num_negative and self.maximum < LOG_MAXIMUM
        return f"{text}, log-normalized by their range" if is_log else text


def first_wrong_value(values: np.ndarray, *, allow_fractions: bool = False) -> int | None:
    """Return the position of the first value that is no count, None where all are.

    Args:
        values: [K] numbers.
        allow_fractions: Whether estimated counts, which are not whole, are let through.

    >>> first_wrong_value(np.array([1.0, 2.5])), first_wrong_value(np.array([1.0, 2.5]), allow_fractions=True)
    (1, None)
    """
    if not len(values) or values.dtype.kind in "ub":
        return None
    if float(values.min()) >= 0:  # false for NaN
        if values.dtype.kind == "i":
            return None
        if float(values.max()) < np.inf and (allow_fractions or np.array_equal(np.rint(values), values)):
            return None
    is_right = (values >= 0) & (values < np.inf)
    if not allow_fractions:
        is_right &= values == np.rint(values)
    return int(np.argmin(is_right))
