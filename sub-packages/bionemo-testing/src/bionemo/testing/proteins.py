# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Made-up proteins with something to learn: families that share an ancestor, as real ones do.

Every member is its family's ancestor with substitutions, insertions and deletions. A masked residue is therefore
predictable from the rest, far below the entropy of the residue frequencies, for a model that recognizes the family.
"""

from dataclasses import dataclass

import numpy as np


AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
RESIDUE_PERCENT = {
    "A": 8.25, "R": 5.53, "N": 4.06, "D": 5.46, "C": 1.38, "Q": 3.93, "E": 6.72, "G": 7.07, "H": 2.27, "I": 5.91,
    "L": 9.64, "K": 5.80, "M": 2.41, "F": 3.86, "P": 4.74, "S": 6.65, "T": 5.36, "W": 1.10, "Y": 2.92, "V": 6.85,
}  # fmt: skip
"""Residue composition of UniProtKB/Swiss-Prot in percent, from its release statistics."""
EXCHANGE_GROUPS = ("AGST", "ILMV", "FWY", "DENQ", "HKR", "C", "P")
"""Residues that replace each other readily: the clusters of positive BLOSUM62 scores, coarsely."""
_GROUP_PREFERENCE = 8.0  # odds of staying within the group, over what the composition alone gives


@dataclass(frozen=True)
class Protein:
    """One record of a FASTA file."""

    id: str
    sequence: str
    family: int


def make_proteins(
    num_proteins: int,
    *,
    num_families: int = 8,
    min_length: int = 60,
    max_length: int = 240,
    substitution_rate: float = 0.15,
    indel_rate: float = 0.01,
    seed: int = 42,
) -> list[Protein]:
    """Make proteins of related families, in random order.

    Protein ``i`` depends on (seed, i, the rates) and its family's ancestor alone: asking for more of them appends.

    Args:
        num_proteins: How many.
        num_families: How many ancestors they descend from.
        min_length: Shortest ancestor, in residues.
        max_length: Longest ancestor; lengths are log-uniform between the two.
        substitution_rate: Substitution rate: fraction of residues replaced, 0 to 1, mostly within ``EXCHANGE_GROUPS``.
        indel_rate: Share of positions at which an insertion or a deletion of one to three residues begins.
        seed: Any integer of 0 or more.

    Returns:
        Proteins named ``fam<family>_<i>``.
    """
    frequencies, exchange = residue_frequencies(), _exchange_probabilities()
    ancestors: dict[int, np.ndarray] = {}
    proteins = []
    for index in range(num_proteins):
        rng = np.random.default_rng([seed, 1, 1, index])
        family = int(rng.integers(num_families))
        if family not in ancestors:
            root = np.random.default_rng([seed, 2, 1, family])
            length = round(float(np.exp(root.uniform(np.log(min_length), np.log(max_length)))))
            ancestors[family] = root.choice(len(AMINO_ACIDS), size=length, p=frequencies)
        residues = _mutate(ancestors[family], rng, substitution_rate, exchange)
        residues = _insert_and_delete(residues, rng, indel_rate, frequencies)
        proteins.append(Protein(f"fam{family}_{index}", "".join(AMINO_ACIDS[i] for i in residues), family))
    return proteins


def residue_frequencies() -> np.ndarray:
    """[20] float64, the background probabilities in the order of ``AMINO_ACIDS``, summing to one."""
    percent: np.ndarray = np.array([RESIDUE_PERCENT[residue] for residue in AMINO_ACIDS])
    return np.asarray(percent / percent.sum())


def unigram_entropy(sequences: list[str]) -> float:
    """Entropy in nats of the residue frequencies: what a model reaches that knows the composition and nothing else."""
    counts = np.bincount(np.frombuffer("".join(sequences).encode(), dtype=np.uint8))
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def _exchange_probabilities() -> np.ndarray:
    """[20, 20] float64, row a: probabilities of what replaces residue a; never a itself."""
    group = {residue: number for number, members in enumerate(EXCHANGE_GROUPS) for residue in members}
    groups = np.array([group[residue] for residue in AMINO_ACIDS])
    weights = np.where(groups[:, None] == groups[None, :], _GROUP_PREFERENCE, 1.0) * residue_frequencies()
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _mutate(residues: np.ndarray, rng: np.random.Generator, rate: float, exchange: np.ndarray) -> np.ndarray:
    new = (exchange.cumsum(axis=1)[residues] < rng.random((len(residues), 1))).sum(axis=1)
    return np.where(rng.random(len(residues)) < rate, np.minimum(new, len(AMINO_ACIDS) - 1), residues)


def _insert_and_delete(
    residues: np.ndarray, rng: np.random.Generator, rate: float, frequencies: np.ndarray
) -> np.ndarray:
    for position in np.flatnonzero(rng.random(len(residues)) < rate)[::-1]:
        size = int(rng.integers(1, 4))
        if rng.random() < 0.5:
            new = rng.choice(len(AMINO_ACIDS), size=size, p=frequencies)
            residues = np.concatenate([residues[:position], new, residues[position:]])
        elif len(residues) > size:
            residues = np.delete(residues, slice(position, position + size))
    return residues
