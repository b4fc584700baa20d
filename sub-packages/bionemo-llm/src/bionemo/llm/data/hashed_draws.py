# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Random draws about samples as vectorized hashes: pure functions of ``(seed, stream, epoch, index)``.

A generator object per sample costs microseconds; here a whole packed batch is drawn in a few array operations, with
the same
promise: equal arguments give equal draws in every process, on every rank and after every restart.

The words of one sample's tokens are a SplitMix64 stream that starts at the sample's key (Steele, Lea and Flood 2014,
"Fast splittable pseudorandom number generators").
"""

import functools

import numpy as np
from numpy.typing import NDArray

from bionemo.core.buffers import BATCHES
from bionemo.core.randomness import Stream, hash_words, mix64_in_place


_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLES_STEP = 2**13


def sample_keys(seed: int, stream: Stream, epoch: int, idxs: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One uniform 64-bit word per sample, distinct for distinct samples of an epoch.

    Args:
        seed: Any integer from 0 up to 2**64 - 1.
        stream: What the draws are for.
        epoch: Epoch, counted from 0.
        idxs: [B] int64, index of each sample.

    Returns:
        [B] uint64.
    """
    return hash_words(seed, int(stream), epoch, idxs)


def token_words(keys: NDArray[np.uint64], lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One uniform 64-bit word per token, a function of the sample's key and the position inside the sample.

    Args:
        keys: [B] uint64 from `sample_keys`.
        lengths: [B] int64, tokens of each sample.

    Returns:
        [sum(lengths)] uint64, sample after sample.
    """
    ends = np.cumsum(lengths)
    num_words = int(ends[-1]) if len(ends) else 0
    words, scratch = BATCHES.empty(num_words, np.uint64), BATCHES.empty(num_words, np.uint64)
    # Word number p of a sample is mix64(key + p * gamma); the global counter is shifted back by the sample's start.
    start = 0
    for key, end in zip(keys - (ends - lengths).astype(np.uint64) * _GOLDEN_GAMMA, ends.tolist(), strict=True):
        words[start:end] = key
        start = end
    words += _multiples(-(-num_words // _MULTIPLES_STEP))[:num_words]
    return mix64_in_place(words, scratch)


@functools.lru_cache(maxsize=4)
def _multiples(num_steps: int) -> NDArray[np.uint64]:
    """0, 1, 2, ... times gamma, as many as some steps have: packed batches of one budget share them."""
    return np.arange(num_steps * _MULTIPLES_STEP, dtype=np.uint64) * _GOLDEN_GAMMA


def draw_below(words: NDArray[np.uint64], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Uniform integers in ``[0, bound)``, one per word.

    Args:
        words: [n] uint64, uniform.
        bounds: [n] int64 (or one number), 1 <= bound <= 2**31.

    Returns:
        [n] int64. The upper 32 bits of the word are used: a bound of 2**31 would be off uniform by 2**-32.
    """
    scaled = (words >> np.uint64(32)) * np.asarray(bounds, dtype=np.uint64)
    return (scaled >> np.uint64(32)).astype(np.int64)
