# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The one progress bar for loops over files, records and cells."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bionemo.core.ranks import process_rank


if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(
    iterable: Iterable[Any] | None = None, total: float | None = None, *, unit: str = "it", description: str = ""
) -> "tqdm[Any]":
    """Build a tqdm bar on stderr; it stays silent when stderr is no terminal or this is not rank 0.

    Args:
        iterable: What to loop over; without it the caller moves the bar by ``bar.update(n)``.
        total: Number of units to come; the iterable's length unless given.
        unit: Name of one unit, for example ``"seq"`` or ``"cell"``; ``"B"`` counts bytes in powers of 1,024.
        description: What is being done, shown before the bar.

    Returns:
        The bar: iterable, and a context manager.
    """
    from tqdm import tqdm

    return tqdm(
        iterable,
        total=total,
        unit=unit,
        unit_scale=True,
        unit_divisor=1024 if unit == "B" else 1000,
        desc=description or None,
        file=sys.stderr,
        disable=process_rank() != 0 or not sys.stderr.isatty(),
        dynamic_ncols=True,
    )
