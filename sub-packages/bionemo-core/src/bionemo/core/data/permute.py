# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A keyed shuffle of ``range(length)`` that answers for any position without storing anything.

Lengths above 64: the numbers below the next power of two are scrambled by eight rounds of steps that each can be
undone (xor with a key, multiply by an odd key, xor with the own upper half); a result outside the range is scrambled
again until it falls inside ("cycle walking", fewer than two passes on average). Scramblers of this kind cannot reach
every order of a handful of numbers, so up to 64 the order is that of hashed keys, which is uniform over all orders.

The orders are part of every resumable run: they are frozen by golden values in the tests.
"""

import functools
import operator
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from bionemo.core.randomness import hash_words


_RANKED_LENGTH = 64
_NUM_ROUNDS = 8
_SEEDS_AT_A_TIME = 4096  # bounds the memory of ranking to 4096 x 64 keys


@overload
def permute(index: int, length: int, seed: int) -> int: ...
@overload
def permute(index: npt.NDArray[Any], length: int, seed: "int | npt.NDArray[Any]") -> npt.NDArray[np.int64]: ...
def permute(
    index: "int | npt.NDArray[Any]", length: int, seed: "int | npt.NDArray[Any]"
) -> "int | npt.NDArray[np.int64]":
    """Position ``index`` of the order of ``range(length)`` that belongs to ``seed``.

    Args:
        index: In [0, length): one integer, or an integer array of any shape.
        length: How many numbers are shuffled, in [1, 2**63).
        seed: In [0, 2**64); with an array ``index`` also an array of its shape, one seed for each entry.

    Returns:
        A Python int for an integer, an int64 array of the same shape for an array.

    Raises:
        ValueError: An argument is out of its range.
    """
    length = operator.index(length)
    if length < 1:
        raise ValueError("The length of the permuted range must be greater than 1.")
    if length >= 2**63:
        raise ValueError(f"The length of the permuted range must be below 2**63, got {length}.")
    if isinstance(index, np.ndarray) and index.ndim > 0:
        return _permute_array(index, length, seed)
    index, seed = operator.index(index), operator.index(seed)
    if not 0 <= index < length:
        raise ValueError("The index to permute must be in the range [0, l).")
    _check_seed(seed, seed)
    if length <= _RANKED_LENGTH:
        return _ranks(length, seed)[index]
    num_bits = (length - 1).bit_length()
    mask, shift = (1 << num_bits) - 1, (num_bits + 1) // 2
    keys = _round_keys_of(seed)
    while True:
        for xor_key, odd_key in keys:
            index = ((index ^ xor_key) * odd_key) & mask
            index ^= index >> shift
        if index < length:
            return index


def _permute_array(index: npt.NDArray[Any], length: int, seed: "int | npt.NDArray[Any]") -> npt.NDArray[np.int64]:
    if index.dtype.kind not in "iu":
        raise TypeError(f"The index to permute must be an integer array, got dtype {index.dtype}.")
    if index.size == 0:
        return np.zeros(index.shape, dtype=np.int64)
    if int(index.min()) < 0 or int(index.max()) >= length:
        raise ValueError("The index to permute must be in the range [0, l).")
    seeds = np.asarray(seed if isinstance(seed, np.ndarray) else operator.index(seed))
    _check_seed(int(seeds.min()), int(seeds.max()))
    if seeds.ndim > 0 and seeds.shape != index.shape:
        raise ValueError(f"The seeds must have the shape of the indices, {index.shape}, got {seeds.shape}.")
    distinct, seed_idx = np.unique(seeds.ravel(), return_inverse=True)
    return permute_grouped(index.ravel(), length, distinct.astype(np.uint64), seed_idx).reshape(index.shape)


def permute_grouped(
    index: npt.NDArray[Any], length: int, seeds: npt.NDArray[np.uint64], seed_idx: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Array form of :func:`permute` without its checks, for indices that share few seeds.

    Args:
        index: [M] integers in [0, length).
        length: How many numbers are shuffled.
        seeds: [E] uint64.
        seed_idx: [M], or [1] where all share one seed: which of the seeds belongs to each index.

    Returns:
        [M] int64.
    """
    if length <= _RANKED_LENGTH:
        return _rank_grouped(index, length, seeds, seed_idx)
    num_bits = (length - 1).bit_length()
    mask, shift = np.uint64((1 << num_bits) - 1), np.uint64((num_bits + 1) // 2)
    keys = _round_keys(seeds)
    result = np.empty(len(index), dtype=np.int64)
    open_idx, values = np.arange(len(index)), index.astype(np.uint64)
    while len(open_idx):
        for xor_keys, odd_keys in keys:
            values = ((values ^ xor_keys[seed_idx]) * odd_keys[seed_idx]) & mask
            values ^= values >> shift
        outside = values >= np.uint64(length)
        result[open_idx] = values  # those outside are written again later
        open_idx, values = open_idx[outside], values[outside]
        seed_idx = seed_idx[outside] if len(seed_idx) > 1 else seed_idx
    return result


def _rank_grouped(
    index: npt.NDArray[Any], length: int, seeds: npt.NDArray[np.uint64], seed_idx: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    if len(seeds) <= _SEEDS_AT_A_TIME:
        keys = hash_words(seeds[:, None], np.arange(length, dtype=np.uint64))
        ranks = keys.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        return np.asarray(ranks[seed_idx, index], dtype=np.int64)
    result = np.empty(len(index), dtype=np.int64)
    by_seed = np.argsort(seed_idx, kind="stable")
    starts = np.arange(0, len(seeds), _SEEDS_AT_A_TIME)
    for start, mine in zip(starts, np.split(by_seed, np.searchsorted(seed_idx[by_seed], starts[1:])), strict=True):
        some_seeds = seeds[start : start + _SEEDS_AT_A_TIME]
        result[mine] = _rank_grouped(index[mine], length, some_seeds, seed_idx[mine] - start)
    return result


def _round_keys(seeds: npt.NDArray[np.uint64]) -> list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]]:
    return [
        (hash_words(seeds, 2 * round_idx), hash_words(seeds, 2 * round_idx + 1) | np.uint64(1))
        for round_idx in range(_NUM_ROUNDS)
    ]


@functools.lru_cache(maxsize=64)
def _ranks(length: int, seed: int) -> tuple[int, ...]:
    zero = np.zeros(1, dtype=np.int64)
    ranks = _rank_grouped(np.arange(length), length, np.array([seed], dtype=np.uint64), zero)
    return tuple(ranks.tolist())


@functools.lru_cache(maxsize=64)
def _round_keys_of(seed: int) -> tuple[tuple[int, int], ...]:
    keys = _round_keys(np.array([seed], dtype=np.uint64))
    return tuple((int(xor_key[0]), int(odd_key[0])) for xor_key, odd_key in keys)


def _check_seed(lowest: int, highest: int) -> None:
    if lowest < 0:
        raise ValueError("The permutation seed must be greater than or equal to 0.")
    if highest >= 2**64:
        raise ValueError(f"The permutation seed must be below 2**64, got {highest}.")
