# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Check that a dataset gives every rank the same sample: reading must depend on the index alone.

Ranks of one model-parallel group read the same index each for itself. A dataset that draws from a global generator, or
reseeds one, gives them different samples, or disturbs their dropout.
"""

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import numpy as np

from bionemo.testing.torch import recursive_assert_approx_equal


class DatasetLocallyNondeterministic(AssertionError):
    """Reading the same index twice gave two different samples."""


class DatasetDistributedNondeterministic(AssertionError):
    """Reading a sample seeded or used a global random generator."""


def assert_dict_tensors_approx_equal(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Assert equal keys and close values."""
    recursive_assert_approx_equal(actual, expected)


def assert_dataset_compatible_with_megatron(
    dataset: Any,
    index: Any = 0,
    assert_elements_equal: Callable[[Any, Any], None] = assert_dict_tensors_approx_equal,
) -> None:
    """Assert that ``dataset[index]`` is a pure function of the index.

    Args:
        dataset: Has a length and takes ``index``.
        index: Position or ``EpochIndex``.
        assert_elements_equal: Raises AssertionError when two samples differ.

    Raises:
        AssertionError: The dataset is empty.
        DatasetLocallyNondeterministic: Two reads differ.
        DatasetDistributedNondeterministic: A read seeded torch, or drew from or seeded NumPy's, Python's or torch's
            global generator.
    """
    assert len(dataset) > 0, "Need one element or more to test"
    with _no_global_randomness():
        first, second = dataset[index], dataset[index]
    try:
        assert_elements_equal(first, second)
    except AssertionError as error:
        raise DatasetLocallyNondeterministic(f"dataset[{index!r}] read twice differs: {error}") from error


def assert_dataset_elements_not_equal(
    dataset: Any,
    index_a: Any = 0,
    index_b: Any = 1,
    assert_elements_equal: Callable[[Any, Any], None] = assert_dict_tensors_approx_equal,
) -> None:
    """Assert that two indices, of two epochs for example, are each read deterministically and give different samples.

    Raises:
        AssertionError: The samples are equal, or one of the indices fails on its own.
    """
    for index in (index_a, index_b):
        assert_dataset_compatible_with_megatron(dataset, index, assert_elements_equal)
    try:
        assert_elements_equal(dataset[index_a], dataset[index_b])
    except AssertionError:
        return
    raise AssertionError(f"dataset[{index_a!r}] and dataset[{index_b!r}] are equal, expected different samples.")


@contextlib.contextmanager
def _no_global_randomness() -> Iterator[None]:
    import torch

    def refuse(name: str) -> Callable[..., None]:
        def call(*_: Any, **__: Any) -> None:
            raise DatasetDistributedNondeterministic(
                f"Reading a sample calls {name}. Draw from a generator made from the index."
            )

        return call

    before = _global_states()
    with contextlib.ExitStack() as patches:
        for owner, name in ((torch, "manual_seed"), (torch.cuda, "manual_seed"), (torch.cuda, "manual_seed_all")):
            patches.enter_context(mock.patch.object(owner, name, refuse(f"{owner.__name__}.{name}")))
        yield
    for name, state in _global_states().items():
        if state != before[name]:
            raise DatasetDistributedNondeterministic(
                f"Reading a sample uses {name}'s global generator. Draw from one made from the index."
            )


def _global_states() -> dict[str, Any]:
    import torch

    numpy_state = np.random.get_state(legacy=True)  # noqa: NPY002 it is the global generator that is under watch
    return {
        "numpy": [part.tobytes() if isinstance(part, np.ndarray) else part for part in numpy_state],
        "python": random.getstate(),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
