# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Windows over proteins longer than a model was trained on, in tokens: the special tokens count.

Sources: ProteinGym's "optimal" and "overlapping" windows for ESM models (Notin et al. 2023).

Letters: T tokens of a protein with its special tokens.
"""

import numpy as np
from numpy.typing import NDArray


WINDOW_TOKENS = 1024
"""Tokens of the longest sequences that ESM-2 was trained on."""


def window_start(first: int, last: int, num_tokens: int, window: int) -> int:
    """Return where the window around some tokens starts: they stand in its middle but near the ends of the protein.

    Args:
        first: Place of the first token, from 0, special tokens counted.
        last: Place of the last token.
        num_tokens: T.
        window: Tokens of a window; 0: the whole protein.

    >>> [window_start(token, token, 2000, 1024) for token in (511, 512, 1000, 1487, 1488, 1999)]
    [0, 0, 488, 975, 976, 976]
    """
    if not window or num_tokens <= window:
        return 0
    middle = (first + last + 1) // 2
    return min(max(middle - window // 2, 0), num_tokens - window)


def overlapping_windows(num_tokens: int, window: int) -> list[int]:
    """Return where windows start that advance from both ends, by a little less than half, until they meet.

    A central window is added where the last two overlap by less than such an advance.

    Args:
        num_tokens: T.
        window: Tokens of a window; 0: the whole protein.

    >>> overlapping_windows(2400, 1024)
    [0, 511, 865, 1376]
    """
    if not window or num_tokens <= window:
        return [0]
    advance = window // 2 - 1
    left, right = 0, num_tokens - window
    starts = {left, right}
    while right - left > window:  # a gap is between the two innermost windows
        left, right = left + advance, right - advance
        starts |= {left, right}
    if left + window - right < advance:
        starts.add((left + right) // 2)
    return sorted(starts)


def window_weights(start: int, num_tokens: int, window: int) -> NDArray[np.float64]:
    """Return the weight of each token of a window: 1, falling as a logistic function near borders inside the protein.

    Args:
        start: Where the window starts.
        num_tokens: T.
        window: Tokens of a window.

    Returns:
        [window] in (0, 1]; at the ends of the protein 1.

    >>> window_weights(0, 2000, 1024)[[0, 500, 896, 1023]].round(2).tolist()
    [1.0, 1.0, 0.5, 0.0]
    """
    weights = np.ones(min(window, num_tokens) if window else num_tokens)
    if len(weights) == num_tokens:
        return weights
    places = np.arange(1, window // 4 + 1)
    rise = 1 / (1 + np.exp(-(places - window / 8) / (window / 64)))
    if start > 0:
        weights[: len(rise)] = rise
    if start + window < num_tokens:
        weights[len(weights) - len(rise) :] = rise[::-1]
    return weights
