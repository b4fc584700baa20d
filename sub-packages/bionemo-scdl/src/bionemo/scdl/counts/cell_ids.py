# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cell ids that are unique over several files, although barcodes repeat from sample to sample."""

from collections import Counter
from collections.abc import Sequence

import numpy as np


def unique_cell_ids(barcodes: Sequence[np.ndarray], sources: Sequence[str]) -> tuple[list[np.ndarray], int]:
    """Make the ids of cells unique.

    Args:
        barcodes: For each source the barcodes of its cells, text.
        sources: A distinct name for each source.

    Returns:
        The ids of each source, and how many barcodes occurred more than once. Where all are unique they stay as they
        are; otherwise every id is ``source:barcode``, with ``#row`` behind those that repeat within their source.

    >>> unique_cell_ids([np.array(["AAC", "AAG"]), np.array(["AAC"])], ["s1", "s2"])[0][1].tolist()
    ['s2:AAC']
    """
    counts = Counter(barcode for part in barcodes for barcode in part.tolist())
    num_repeated = sum(count for count in counts.values() if count > 1)
    if not num_repeated:
        return list(barcodes), 0
    ids = []
    for part, source in zip(barcodes, sources, strict=True):
        repeated = {barcode for barcode, count in Counter(part.tolist()).items() if count > 1}
        beginning = f"{source}:" if len(sources) > 1 else ""
        names = [
            f"{beginning}{barcode}#{row}" if barcode in repeated else f"{beginning}{barcode}"
            for row, barcode in enumerate(part.tolist())
        ]
        ids.append(np.array([*names, None], dtype=object)[:-1])
    return ids, num_repeated
