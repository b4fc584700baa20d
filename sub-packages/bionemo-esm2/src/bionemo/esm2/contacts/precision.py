# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Precision of the strongest predicted contacts, P@L, P@L/2 and P@L/5, by separation in the sequence.

Letters: S residues.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


RANGES = {"short": (6, 12), "medium": (12, 24), "long": (24, None), "all": (6, None)}
"""Separation in residues: from, and below; as CASP counts."""
FRACTIONS = {"L": 1, "L/2": 2, "L/5": 5}


class Precision(NamedTuple):
    """One line of the table."""

    range: str
    top: str
    num_pairs: int
    """Pairs that were looked at: fewer than asked for where the protein has fewer."""
    precision: float
    """NaN where there is no pair."""


def contact_precision(
    predicted_SS: NDArray[np.float32], contacts_SS: NDArray[np.bool_], is_resolved_S: NDArray[np.bool_]
) -> list[Precision]:
    """Compute the precision of the strongest pairs in each range of separation.

    Args:
        predicted_SS: Larger is more likely a contact; equal pairs keep the order of the sequence.
        contacts_SS: Contacts of the structure.
        is_resolved_S: Residues that it shows; others do not count, nor to L.

    >>> predicted = np.zeros((10, 10), dtype=np.float32)
    >>> predicted[0, 7] = 1.0
    >>> true = np.zeros((10, 10), dtype=bool)
    >>> true[0, 7] = True
    >>> contact_precision(predicted, true, np.ones(10, dtype=bool))[-1]
    Precision(range='all', top='L/5', num_pairs=2, precision=0.5)
    """
    length = int(is_resolved_S.sum())
    rows, columns = np.triu_indices(len(predicted_SS), k=1)
    usable = is_resolved_S[rows] & is_resolved_S[columns]
    rows, columns = rows[usable], columns[usable]
    found = []
    for name, (nearest, farthest) in RANGES.items():
        separation = columns - rows
        in_range = (separation >= nearest) & (separation < (math.inf if farthest is None else farthest))
        strength = predicted_SS[rows[in_range], columns[in_range]]
        hits = contacts_SS[rows[in_range], columns[in_range]][np.argsort(-strength, kind="stable")]
        for top, divisor in FRACTIONS.items():
            counted = hits[: max(length // divisor, 1)]
            found.append(Precision(name, top, len(counted), float(counted.mean()) if len(counted) else math.nan))
    return found
