# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Write `example_proteins.fasta`: invented proteins of well-known repeat families, small enough to ship.

    python scripts/protein/esm2/make_example_proteins.py > scripts/protein/esm2/example_proteins.fasta

No sequence is a natural one. Each family starts from the published consensus of a repeat or motif and gets
`SUBFAMILIES` ancestors, each with `ANCESTOR_RATE` of the consensus substituted. A protein is a number of copies of one
ancestor's repeat between two flanks of random residues. Every copy has `COPY_RATE` of its residues substituted and, at
`INDEL_RATE` of its places, a residue lost or doubled. Six of ten substitutions stay within a group of alike residues.

No two proteins are equal, but those of a subfamily are close relatives: of the 12-residue words of a validation
protein four in ten occur in training proteins of its family, and the longest common stretches have 30 to 60 residues.
A model learns the families in minutes; the validation loss says how well it did that, not how well it knows proteins.

The same seed writes the same file with every Python: only `random.Random.random` is used.
"""

import random
import sys
from typing import NamedTuple


SEED = 2026
PROTEINS_PER_FAMILY = 42
SUBFAMILIES = 2
ANCESTOR_RATE = 0.08
COPY_RATE = 0.08
INDEL_RATE = 0.006
SIMILAR_SHARE = 0.6
FLANK_RESIDUES = (3, 12)
LINE_WIDTH = 80


class Family(NamedTuple):
    """A repeat or motif: its consensus, and how many copies proteins have."""

    name: str
    consensus: str
    copies: tuple[int, int]


FAMILIES = (
    # Consensus designed from thousands of ankyrin repeats (Mosavi et al. 2002; Binz et al. 2003).
    Family("ankyrin", "DKNGRTPLHLAARNGHLEVVKLLLEAGADVNAK", (6, 14)),
    # Consensus tetratricopeptide repeat (Main et al. 2003).
    Family("tetratricopeptide", "AEAWYNLGNAYYKQGDYDEAIEYYQKALELDPNN", (6, 14)),
    # Consensus C2H2 zinc finger with its linker (Krizek et al. 1991).
    Family("zinc-finger-C2H2", "TGEKPYKCPECGKSFSQSSNLQKHQRTH", (7, 16)),
    # Typical leucine-rich repeat, LxxLxLxxNxLxxLPxxxFxxLxx (Kobe and Kajava 2001).
    Family("leucine-rich", "LTNLEELDLSNNQLTSLPPGLFDG", (8, 18)),
    # Collagen triplets Gly-X-Y with their frequent X and Y (Ramshaw et al. 1998).
    Family("collagen", "GPPGPPGERGPQGPKGDRGETGPAGPP", (8, 16)),
    # Heptads abcdefg with isoleucine and leucine at a and d (Woolfson 2005).
    Family("coiled-coil", "EIAALKQEIAALKKENAALKWEIAALKQ", (7, 15)),
    # Pentapeptide repeat A(D/N)LXX (Bateman et al. 1998).
    Family("pentapeptide", "ANLSGADLRGANLEGADLSG", (9, 20)),
    # Transcription-activator-like effector repeat (Boch et al. 2009).
    Family("TAL-effector", "LTPEQVVAIASNNGGKQALETVQRLLPVLCQAHG", (6, 13)),
    # Elastin-like and silk-like motifs (Urry 1988; Xu and Lewis 1990).
    Family("elastin-like", "VPGVGVPGAGVPGVGVPGFG", (9, 20)),
    Family("silk-like", "GGAGQGGYGGLGSQGAGRGGLGGQGAGAAAAAA", (6, 13)),
)

SIMILAR = ("ILVM", "FWY", "DE", "KRH", "ST", "NQ", "AG", "C", "P")
# Residue frequencies of UniProtKB/Swiss-Prot in percent (release statistics, rounded).
BACKGROUND = {
    **{"L": 9.65, "A": 8.25, "G": 7.07, "V": 6.86, "E": 6.72, "S": 6.64, "I": 5.91, "K": 5.80, "R": 5.53, "D": 5.46},
    **{"T": 5.36, "P": 4.74, "N": 4.06, "Q": 3.93, "F": 3.86, "Y": 2.92, "M": 2.41, "H": 2.27, "C": 1.38, "W": 1.10},
}


def main() -> None:
    """Write the proteins of all families to stdout, family after family."""
    for family in FAMILIES:
        rng = random.Random(f"{SEED} {family.name}")
        ancestors = [substitute(family.consensus, ANCESTOR_RATE, rng) for _ in range(SUBFAMILIES)]
        for number in range(PROTEINS_PER_FAMILY):
            copies = between(*family.copies, rng)
            ancestor = ancestors[number % SUBFAMILIES]
            repeats = [insert_and_delete(substitute(ancestor, COPY_RATE, rng), rng) for _ in range(copies)]
            protein = "M" + flank(rng) + "".join(repeats) + flank(rng)
            sys.stdout.write(f">{family.name}-{number + 1:02d} invented, {copies} copies\n")
            for start in range(0, len(protein), LINE_WIDTH):
                sys.stdout.write(protein[start : start + LINE_WIDTH] + "\n")


def substitute(sequence: str, rate: float, rng: random.Random) -> str:
    """Replace a share of the residues, most of them by similar ones."""
    return "".join(replacement(residue, rng) if rng.random() < rate else residue for residue in sequence)


def replacement(residue: str, rng: random.Random) -> str:
    """Another residue: of the same group in `SIMILAR_SHARE` of the cases, by background frequency in the others."""
    group = next(group for group in SIMILAR if residue in group).replace(residue, "")
    if group and rng.random() < SIMILAR_SHARE:
        return group[between(0, len(group) - 1, rng)]
    while (drawn := background(rng)) == residue:
        pass
    return drawn


def insert_and_delete(sequence: str, rng: random.Random) -> str:
    """Lose or double a residue here and there."""
    return "".join(
        residue * (0 if rng.random() < 0.5 else 2) if rng.random() < INDEL_RATE else residue for residue in sequence
    )


def flank(rng: random.Random) -> str:
    """Random residues with the frequencies of natural proteins."""
    return "".join(background(rng) for _ in range(between(*FLANK_RESIDUES, rng)))


def background(rng: random.Random) -> str:
    """One residue by its frequency."""
    point = rng.random() * sum(BACKGROUND.values())
    for residue, percent in BACKGROUND.items():
        point -= percent
        if point < 0:
            return residue
    return "L"


def between(low: int, high: int, rng: random.Random) -> int:
    """A whole number from low to high, both included."""
    return low + int(rng.random() * (high - low + 1))


if __name__ == "__main__":
    main()
