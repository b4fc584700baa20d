# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Ids that tell the cells of a data set apart, although barcodes repeat from sample to sample."""

import logging

import numpy as np
from numpy.typing import NDArray

from bionemo.scdl.counts.cell_ids import unique_cell_ids


logger = logging.getLogger(__name__)


def distinct_ids(ids: NDArray[np.str_], source: str) -> NDArray[np.str_]:
    """Return the ids with ``#row`` behind those that repeat, and warn of them.

    Args:
        ids: [C] str, of all cells of the data set: row numbers then mean the same in every command.
        source: Name of the data, for messages.

    Returns:
        [C] str; the same where no id repeats.

    >>> distinct_ids(np.array(["AAC", "AAG", "AAC"]), "cells.h5ad").tolist()
    ['AAC#0', 'AAG', 'AAC#2']
    """
    (distinct,), num_repeated = unique_cell_ids([ids], [source])
    if num_repeated:
        logger.warning(
            "%s: %d cells share their id with another cell, as barcodes of several samples do; the row number is "
            "added to these ids. Choose other ids with id_column (--id-column)",
            source,
            num_repeated,
        )
    return np.asarray(distinct, dtype=str)
