# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BLOSUM62 (Henikoff and Henikoff 1992) as a score of substitutions: the baseline that knows no protein."""

from bionemo.core.errors import DataError
from bionemo.esm2.variants.mutations import Variant


ORDER = "ARNDCQEGHILKMFPSTWYV"
_LOWER = """4
-1 5
-2 0 6
-2 -2 1 6
0 -3 -3 -3 9
-1 1 0 0 -3 5
-1 0 0 2 -4 2 5
0 -2 0 -1 -3 -2 -2 6
-2 0 1 -1 -3 0 0 -2 8
-1 -3 -3 -3 -1 -3 -3 -4 -3 4
-1 -2 -3 -4 -1 -2 -3 -4 -3 2 4
-1 2 0 -1 -3 1 1 -2 -1 -3 -2 5
-1 -1 -2 -3 -1 0 -2 -3 -2 1 2 -1 5
-2 -3 -3 -3 -2 -3 -3 -3 -1 0 0 -3 0 6
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4 7
1 -1 1 0 -1 0 0 0 -1 -2 -2 0 -1 -2 -1 4
0 -1 0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1 1 5
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1 1 -4 -3 -2 11
-2 -2 -2 -3 -2 -1 -2 -3 2 -1 -1 -2 -1 3 -3 -2 -2 2 7
0 -3 -3 -3 -1 -2 -2 -3 -3 3 1 -2 1 -1 -2 -2 0 -3 -1 4"""


def _matrix() -> dict[tuple[str, str], int]:
    found = {}
    for row, line in enumerate(_LOWER.splitlines()):
        for column, value in enumerate(map(int, line.split())):
            found[ORDER[row], ORDER[column]] = found[ORDER[column], ORDER[row]] = value
    return found


BLOSUM62 = _matrix()


def blosum_score(variant: Variant) -> float:
    """Sum the scores of a variant's substitutions, each less that of the unchanged residue.

    Raises:
        DataError: The variant has an insertion or a deletion.

    >>> from bionemo.esm2.variants.mutations import parse_variant
    >>> blosum_score(parse_variant("P20L"))
    -10.0
    """
    total = 0
    for edit in variant.edits:
        if edit.kind != "substitution":
            raise DataError(f"{variant.text}: BLOSUM62 scores substitutions, found a {edit.kind}.")
        total += BLOSUM62.get((edit.first, edit.new), -4) - BLOSUM62.get((edit.first, edit.first), 4)
    return float(total)
