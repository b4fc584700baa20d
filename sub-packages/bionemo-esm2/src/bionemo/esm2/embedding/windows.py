# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Windows of long proteins: consecutive tokens that go through the model without the rest of the protein.

Windows count tokens, special ones included: an inner window has none, the first begins with ``<cls>``, the last ends
with ``<eos>``, as in the training of ESM-2, which crops proteins after the special tokens are added.
"""

from itertools import pairwise
from typing import NamedTuple


class Window(NamedTuple):
    """Tokens ``start`` to ``start + size`` of a protein, of which those from ``keep_start`` to ``keep_stop`` count."""

    start: int
    keep_start: int
    """First token whose result is taken from this window, counted in the protein."""
    keep_stop: int


def windows_of(num_tokens: int, size: int) -> list[Window]:
    """Cut a protein into windows that overlap by half or more; each token is taken from where it has most context.

    Args:
        num_tokens: Tokens of the protein, special ones included.
        size: Tokens of a window, 2 or more.

    >>> windows_of(10, 4)
    [Window(start=0, keep_start=0, keep_stop=3), Window(start=2, keep_start=3, keep_stop=5), \
Window(start=4, keep_start=5, keep_stop=7), Window(start=6, keep_start=7, keep_stop=10)]
    """
    if num_tokens <= size:
        return [Window(0, 0, num_tokens)]
    last = num_tokens - size
    number = -(-last // (size // 2)) + 1
    starts = [place * last // (number - 1) for place in range(number)]
    cuts = [(following + start + size) // 2 for start, following in pairwise(starts)]
    bounds = [0, *cuts, num_tokens]
    return [Window(start, *kept) for start, kept in zip(starts, pairwise(bounds), strict=True)]
