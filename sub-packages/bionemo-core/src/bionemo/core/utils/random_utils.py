# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Control over NumPy's global random state, and seeds drawn from a generator."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


__all__ = ("get_seed_from_rng", "random_numpy_context")


@contextlib.contextmanager
def random_numpy_context(seed: int = 42) -> Iterator[None]:
    """Seed NumPy's global state for a block and put it back afterwards, also after an exception.

    For code that draws from the global state and cannot be given a generator; ours takes generators.
    """
    state = np.random.get_state()  # noqa: NPY002 the legacy state is what this is about
    np.random.seed(seed)  # noqa: NPY002 see above
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002 see above


def get_seed_from_rng(rng: np.random.Generator, dtype: npt.DTypeLike = np.int64) -> int:
    """Draw one seed.

    Args:
        rng: The generator; moves on by one draw.
        dtype: Integer type of the seed.

    Returns:
        An integer from 0 to below the largest number of the type.
    """
    kind: type[Any] = np.dtype(dtype).type  # NumPy 1.26 takes the class here, but not the dtype
    return int(rng.integers(np.iinfo(kind).max, dtype=kind))
