# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Compare matrices by how far they are apart as a whole, for results that differ in the last bits everywhere."""

from typing import Any

import numpy as np


def assert_matrix_mape_below_value(
    actual: Any, expected: Any, mask: Any = None, max_mape: float = 0.1, eps: float = 1e-3, msg: str = ""
) -> None:
    """Assert a small mean absolute percentage error: the mean of |a-e| / max(|e|, eps), times 100.

    Args:
        actual: Array or tensor of any shape.
        expected: Of the same shape.
        mask: True where entries count; one without the last dimension counts whole rows.
        max_mape: Limit in percent.
        eps: Smallest denominator.
        msg: Ends the error text.

    Raises:
        AssertionError: The error is larger.
    """
    a, e = _selected(actual, mask), _selected(expected, mask)
    mape = float(np.mean(np.abs(a - e) / np.maximum(np.abs(e), eps))) * 100.0
    assert mape <= max_mape, f"MAPE below threshold: {mape} > {max_mape}. {msg}"


def assert_matrix_correlation_above_value(
    actual: Any, expected: Any, mask: Any = None, min_correlation: float = 0.95, msg: str = ""
) -> None:
    """Assert a high Pearson correlation of the entries.

    Args:
        actual: Array or tensor of any shape.
        expected: Of the same shape.
        mask: True where entries count; one without the last dimension counts whole rows.
        min_correlation: Limit.
        msg: Ends the error text.

    Raises:
        AssertionError: The correlation is lower.
    """
    correlation = float(np.corrcoef(_selected(actual, mask), _selected(expected, mask))[0, 1])
    assert correlation >= min_correlation, f"Correlation below threshold: {correlation} < {min_correlation}. {msg}"


def _selected(values: Any, mask: Any) -> np.ndarray:
    """The entries that count, [n] float64."""
    array: np.ndarray = np.asarray(_on_host(values), dtype=np.float64)
    if mask is None:
        return array.reshape(-1)
    keep = np.asarray(_on_host(mask), dtype=bool)
    if keep.ndim < array.ndim:
        keep = np.broadcast_to(keep[..., None], array.shape)
    selected: np.ndarray = array[keep]
    return selected


def _on_host(values: Any) -> Any:
    return values.detach().cpu().double().numpy() if hasattr(values, "detach") else values
