# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Average product correction of a coupling map (Dunn et al. 2008)."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


Map = TypeVar("Map", Tensor, NDArray[np.float32])


def average_product_correction(coupling_SS: Map) -> Map:
    """Subtract from a map what its row and column sums alone would give.

    Args:
        coupling_SS: [S, S], symmetric.

    Returns:
        [S, S], row sums of zero.

    >>> average_product_correction(np.array([[0.0, 2.0], [2.0, 4.0]], dtype=np.float32)).tolist()
    [[-0.5, 0.5], [0.5, -0.5]]
    """
    rows, columns = coupling_SS.sum(1), coupling_SS.sum(0)
    corrected: Map = coupling_SS - rows[:, None] * columns[None, :] / coupling_SS.sum()
    return corrected
