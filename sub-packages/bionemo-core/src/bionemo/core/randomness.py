# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Random choices about data as pure functions of (seed, stream, epoch, index).

No choice depends on a process, a worker or on what was drawn before, so that a resumed or differently divided run
makes the same ones. Few choices: :func:`rng_for`. Many at once: :func:`hash_words`, one 64-bit word for each.
"""

import enum
import functools
from typing import Any

import numpy as np
import numpy.typing as npt


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Stream(enum.IntEnum):
    """What a random choice is for: choices of different streams are independent. Numbers are frozen."""

    SHUFFLE = 1
    CROP = 2
    MASK = 3
    CLUSTER_MEMBER = 4
    PACK_ORDER = 5
    SPLIT = 6
    DROPOUT = 7


def rng_for(seed: int, stream: Stream, *, epoch: int = 0, index: int = 0) -> np.random.Generator:
    """Build the generator for one choice.

    Args:
        seed: The run's seed, in [0, 2**32), as are the other three.
        stream: What the choice is for.
        epoch: Epoch, from 0.
        index: Sample index.
    """
    return np.random.default_rng([seed, int(stream), epoch, index])


@functools.lru_cache(maxsize=256)
def hashed_seed(seed: int, stream: Stream, epoch: int = 0, index: int = 0) -> int:
    """Seed in [0, 2**64) for everything that one choice consists of, for example the order of one epoch."""
    return int(hash_words(seed, int(stream), epoch, index)[0])


def mix64(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit words one by one; a bijection in which every input bit moves every output bit.

    Args:
        words: uint64 array of at least one dimension (NumPy warns about the wrap-around of scalars only).

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood 2014, variant 13 of Stafford's constants).
    """
    return mix64_in_place(words.copy(), np.empty_like(words))


def mix64_in_place(words: npt.NDArray[np.uint64], scratch: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Do as :func:`mix64` without new memory; `scratch` is of the size of `words`, which are returned."""
    for shift, multiplier in ((30, _MULTIPLIERS[0]), (27, _MULTIPLIERS[1])):
        words ^= np.right_shift(words, np.uint64(shift), out=scratch)
        words *= multiplier
    words ^= np.right_shift(words, np.uint64(31), out=scratch)
    return words


def hash_words(*words: Any) -> npt.NDArray[np.uint64]:
    """Hash integers into one uniform 64-bit word, elementwise.

    Args:
        words: Integers in [0, 2**64) or integer arrays that broadcast together; their order and number matter.

    Returns:
        uint64 array of the broadcast shape, at least one-dimensional.
    """
    num_scalars = next((place for place, word in enumerate(words) if type(word) is not int), len(words))
    result = _hash_scalars(words[:num_scalars])
    for position, word in enumerate(words[num_scalars:], start=num_scalars + 1):
        result = _add_word(result, position, word)
    return result.copy() if num_scalars == len(words) else result


@functools.lru_cache(maxsize=64)
def _hash_scalars(words: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    """The hash so far, of words that many hashes begin with."""
    result = np.zeros(1, dtype=np.uint64)
    for position, word in enumerate(words, start=1):
        result = _add_word(result, position, word)
    return result


def _add_word(result: npt.NDArray[np.uint64], position: int, word: Any) -> npt.NDArray[np.uint64]:
    salted = np.atleast_1d(np.asarray(word)).astype(np.uint64) + np.array([position], dtype=np.uint64) * _GOLDEN
    return mix64(result ^ mix64(salted))
