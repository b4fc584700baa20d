# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Clusters of similar sequences by shared k-mers, so that relatives do not lie on both sides of a split.

Sequences are taken from the longest to the shortest. Each joins the representatives of which enough k-mers occur in
it, which joins their clusters too; one that finds none becomes a representative. "Enough" is a fraction of its
residues that lie in a shared k-mer, the expectation for two aligned sequences of the identity asked for: independent
matches with probability p put a residue into a run of at least k matches with probability
``p**k * (k - (k - 1) * p)``. A short tag that many chains carry covers too little of them to join them.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bionemo.core.progress import progress_bar


K = 4
"""Residues of a k-mer: two unrelated sequences of 250 residues share 0.4 of them on average."""
_ALPHABET = 32  # more than token ids of residues, less 4
_MIN_SHARED = 3  # k-mers; two sequences that share fewer are never compared


def expected_coverage(identity: float, k: int = K) -> float:
    """Return the fraction of residues in runs of at least k matches, for independent matches.

    >>> round(expected_coverage(0.5), 3)
    0.156
    """
    return float(identity**k * (k - (k - 1) * identity))


def cluster_sequences(sequences: Sequence[bytes], *, identity: float) -> NDArray[np.int64]:
    """Cluster sequences.

    Args:
        sequences: Token ids, a byte for each residue.
        identity: Fraction of identical residues from which on sequences belong together, in (0, 1].

    Returns:
        [P] int64, number of each sequence's cluster, from 0 in the order of the first members.

    >>> cluster_sequences([b"ACDEFGHIKLMN", b"WWWWWYYYYYWW", b"ACDEFGHIKLMM"], identity=0.5).tolist()
    [0, 1, 0]
    """
    needed = expected_coverage(identity)
    parent = np.arange(len(sequences))

    def root(sequence: int) -> int:
        while parent[sequence] != sequence:
            parent[sequence] = parent[parent[sequence]]
            sequence = int(parent[sequence])
        return sequence

    known: dict[bytes, int] = {}
    representatives: defaultdict[int, list[int]] = defaultdict(list)
    order = np.argsort([-len(sequence) for sequence in sequences], kind="stable")
    for place in progress_bar(order.tolist(), unit="sequence", description="Clustering"):
        sequence = sequences[place]
        if sequence in known:
            parent[place] = known[sequence]
            continue
        known[sequence] = place
        words = kmers_of(sequence)
        shared: Counter[int] = Counter()
        for word in words.tolist():
            shared.update(representatives.get(word, ()))
        is_alone = True
        for representative, count in shared.items():
            if count < min(_MIN_SHARED, len(words)) or K * count < needed * len(sequence):
                continue  # each shared k-mer covers K residues at most
            if coverage(words, kmers_of(sequences[representative]), len(sequence)) >= needed:
                parent[root(place)] = root(representative)
                is_alone = False
        if is_alone:
            for word in np.unique(words).tolist():
                representatives[word].append(place)
    roots = np.array([root(place) for place in range(len(sequences))], dtype=np.int64)
    _, first, numbers = np.unique(roots, return_index=True, return_inverse=True)
    renumbered: NDArray[np.int64] = np.argsort(np.argsort(first))[numbers].astype(np.int64)
    return renumbered


def kmers_of(sequence: bytes) -> NDArray[np.int64]:
    """Return the k-mers of a sequence as numbers; a sequence shorter than k is one k-mer."""
    letters = np.frombuffer(sequence, np.uint8).astype(np.int64) % _ALPHABET
    if len(letters) < K:
        letters = np.concatenate([letters, np.full(K - len(letters), _ALPHABET - 1)])
    windows = np.lib.stride_tricks.sliding_window_view(letters, K)
    words: NDArray[np.int64] = windows @ (_ALPHABET ** np.arange(K))
    return words


def coverage(words: NDArray[np.int64], others: NDArray[np.int64], length: int) -> float:
    """Return the fraction of a sequence's residues that lie in a k-mer of another sequence.

    Args:
        words: Its k-mers in order.
        others: Those of the other sequence.
        length: Its residues.
    """
    is_covered = np.zeros(max(length, K), dtype=bool)
    starts = np.flatnonzero(np.isin(words, others))
    for shift in range(K):
        is_covered[starts + shift] = True
    return float(is_covered.sum() / len(is_covered))
