# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Contacts of a protein in a PDB or mmCIF file: beta carbons closer than 8 Å (alpha carbons of glycine).

Letters: S residues of the sequence.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError, DataFileError, FormatError, MissingFileError
from bionemo.core.optional_deps import require


CONTACT_DISTANCE = 8.0
"""Å between beta carbons, as CASP counts contacts."""
STRUCTURE_SUFFIXES = (".pdb", ".cif", ".ent", ".mmcif")
"""Endings of PDB and mmCIF files, ``.gz`` apart."""
MIN_IDENTITY = 0.9
"""Fraction of the residues that a structure shows which must be those of the sequence."""


class StructureContacts(NamedTuple):
    """Contacts of a structure in the numbering of a sequence."""

    contacts_SS: NDArray[np.bool_]
    is_resolved_S: NDArray[np.bool_]
    """Residues that the structure shows."""


def structure_contacts(path: Path, sequence: str, chain: str | None = None) -> StructureContacts:
    """Read the contacts of a chain and align it to a sequence.

    Args:
        path: .pdb, .ent, .cif or .mmcif file, plain or with .gz.
        sequence: S letters.
        chain: Name of the chain; None: the first whose residues fit the sequence.

    Raises:
        MissingFileError: There is no such file.
        DataFileError: It cannot be read.
        FormatError: It is no structure, or holds no protein chain.
        DataError: There is no such chain, or none whose residues fit the sequence.
    """
    gemmi, structure = _read(path)
    polymers = _polymers(structure, path)
    if chain is not None and chain not in polymers:
        raise DataError(f"{path}: no protein chain {chain!r}, found {', '.join(polymers)}.")
    return _fitting(gemmi, polymers.values() if chain is None else (polymers[chain],), sequence, path)


def first_chain(path: Path) -> tuple[str, StructureContacts]:
    """Return sequence and contacts of a structure's first protein chain.

    The sequence is that of its SEQRES records, else of the residues it shows.

    Raises:
        MissingFileError, DataFileError, FormatError, DataError: As `structure_contacts`.
    """
    gemmi, structure = _read(path)
    polymers = _polymers(structure, path)
    polymer = next(iter(polymers.values()))
    entity = structure.get_entity_of(polymer)
    names = [] if entity is None else [gemmi.Entity.first_mon(name) for name in entity.full_sequence]
    letters = gemmi.one_letter_code(names or [residue.name for residue in polymer.first_conformer()]).upper()
    return letters, _fitting(gemmi, polymers.values(), letters, path)


def _read(path: Path) -> tuple[Any, Any]:
    """Return gemmi and the structure of a file."""
    gemmi: Any = require("gemmi", extra="bionemo-esm2[structure]")
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file. Check the path.")
    try:
        structure = gemmi.read_structure(str(path))
        structure.setup_entities()
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error}.") from error
    except (ValueError, RuntimeError) as error:
        raise FormatError(f"{path}: is no PDB or mmCIF file: {' '.join(str(error).split())}.") from error
    return gemmi, structure


def _polymers(structure: Any, path: Path) -> dict[str, Any]:
    """Return the protein chains of a structure's first model by name."""
    polymers = {found.name: found.get_polymer() for found in structure[0]} if len(structure) else {}
    polymers = {name: polymer for name, polymer in polymers.items() if len(polymer)}
    if not polymers:
        raise FormatError(f"{path}: holds no protein chain.")
    return polymers


def _fitting(gemmi: Any, polymers: Iterable[Any], sequence: str, path: Path) -> StructureContacts:
    """Return the contacts of the first chain whose residues fit a sequence."""
    best = 0.0
    for polymer in polymers:
        places, coordinates, identity = _aligned(gemmi, polymer, sequence)
        if identity >= MIN_IDENTITY:
            return _contacts(places, coordinates, len(sequence))
        best = max(best, identity)
    raise DataError(
        f"{path}: no chain fits the sequence of {len(sequence)} residues: of the residues seen at most "
        f"{100 * best:.0f} % are the same, at least {100 * MIN_IDENTITY:.0f} % must be. Is it another protein?"
    )


def _aligned(gemmi: Any, polymer: Any, sequence: str) -> tuple[list[int], list[tuple[float, ...]], float]:
    """Place each residue of a chain that has coordinates in the sequence.

    Returns:
        Places from 0, coordinates in Å, and the share of the chain's residues that are those of the sequence.
    """
    names = [gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA) or "UNK" for letter in sequence]
    residues = list(polymer.first_conformer())
    kind = gemmi.PolymerType.PeptideL
    alignment = gemmi.align_sequence_to_polymer(names, polymer, kind)
    places, coordinates, num_same = [], [], 0
    place = number = 0
    for length, operation in _operations(alignment.cigar_str()):
        for _ in range(length):
            if operation == "M":
                residue = residues[number]
                letter = gemmi.find_tabulated_residue(residue.name).one_letter_code.upper()
                num_same += letter == sequence[place]
                atom = residue.find_atom("CB", "*") or residue.find_atom("CA", "*")
                if atom:
                    places.append(place)
                    coordinates.append(tuple(atom.pos.tolist()))
            place += operation in "MI"
            number += operation in "MD"
    return places, coordinates, num_same / max(len(residues), 1)


def _operations(cigar: str) -> list[tuple[int, str]]:
    import re

    return [(int(length), operation) for length, operation in re.findall(r"(\d+)([MID])", cigar)]


def _contacts(places: list[int], coordinates: list[tuple[float, ...]], num_residues: int) -> StructureContacts:
    positions = np.full((num_residues, 3), np.nan)
    positions[places] = coordinates
    is_resolved = ~np.isnan(positions[:, 0])
    distance = np.sqrt(((positions[:, None] - positions[None]) ** 2).sum(-1))
    return StructureContacts(np.nan_to_num(distance, nan=np.inf) < CONTACT_DISTANCE, is_resolved)
