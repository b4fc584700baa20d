# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Wild types: proteins of one chain, or complexes whose chains a linker joins to one sequence."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bionemo.core.errors import DataError
from bionemo.esm2.data.tokenizer import VOCABULARY
from bionemo.esm2.variants.mutations import Variant, apply_variant, check_letters


class WildType(NamedTuple):
    """A protein, or chains that the model reads as one sequence."""

    id: str
    chain_ids: tuple[str, ...]
    chains: tuple[str, ...]
    """Sequence of each chain."""

    linker: str = ""
    """Residues between two chains."""

    @property
    def sequence(self) -> str:
        """What the model reads."""
        return self.linker.join(self.chains)

    def chain_start(self, chain: int) -> int:
        """Place of a chain's first residue in the sequence, from 0."""
        return sum(len(sequence) + len(self.linker) for sequence in self.chains[:chain])

    def chain_index(self, chain_id: str) -> int:
        """Number of a chain.

        Raises:
            DataError: There is no such chain.
        """
        if chain_id not in self.chain_ids:
            raise DataError(f"there is no chain {chain_id!r} in {self.id}, which has {', '.join(self.chain_ids)}.")
        return self.chain_ids.index(chain_id)


class ChainVariant(NamedTuple):
    """The edits of one chain, and what is added to their positions to count from the chain's first residue."""

    chain: int
    variant: Variant
    offset: int


class Substitution(NamedTuple):
    """A residue of the whole sequence that becomes another one."""

    place: int
    """In the sequence that the model reads, from 0."""

    wild_type: str
    mutant: str


def substitutions_of(wild_type: WildType, edited: Sequence[ChainVariant]) -> list[Substitution] | None:
    """Return the residues that a variant replaces, in ascending order; None where it has other edits too.

    Raises:
        DataError: A position lies outside its chain, or another letter than the variant's stands there.
    """
    found = []
    for chain, variant, offset in edited:
        check_letters(variant, wild_type.chains[chain], offset=offset)
        if not variant.is_substitution:
            return None
        before = wild_type.chain_start(chain) + offset - 1
        found += [Substitution(before + edit.start, edit.first, edit.new) for edit in variant.edits]
    return sorted(found)


def mutant_sequence(wild_type: WildType, edited: Sequence[ChainVariant]) -> str:
    """Return the sequence of a variant, its chains joined as those of the wild type.

    Raises:
        DataError: As :func:`substitutions_of`.
    """
    chains = list(wild_type.chains)
    for chain, variant, offset in edited:
        chains[chain] = apply_variant(variant, chains[chain], offset=offset)
    if not all(chains):
        raise DataError(f"variant {edited[0].variant.text!r}: no residue is left.")
    return wild_type.linker.join(chains)


def decode_residues(residues: bytes) -> str:
    """Return the letters of token ids, one byte a residue.

    >>> decode_residues(bytes([20, 15, 11]))
    'MKT'
    """
    return "".join(VOCABULARY[token] for token in residues)


def join_chains(sequences: Mapping[str, str], name: str, linker_length: int) -> WildType:
    """Build the wild type of a name: a protein's id, or several joined by ``:`` for a complex.

    Args:
        sequences: Id to sequence.
        name: For example ``P62593`` or ``barnase:barstar``.
        linker_length: Number of glycines between two chains.

    Raises:
        DataError: There is no such protein.

    >>> join_chains({"A": "MKT", "B": "GSH"}, "A:B", 4).sequence
    'MKTGGGGGSH'
    """
    ids = (name,) if name in sequences else tuple(name.split(":"))
    for chain_id in ids:
        if chain_id not in sequences:
            raise DataError(f"no wild type {chain_id!r}, found {', '.join(list(sequences)[:5])}.")
    return WildType(name, ids, tuple(sequences[chain_id] for chain_id in ids), "G" * linker_length)
