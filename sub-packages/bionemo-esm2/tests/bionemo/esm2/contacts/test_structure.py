# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Contacts of PDB and mmCIF files in the numbering of a sequence, and precision counted by hand."""

import gzip

import numpy as np
import pytest

from bionemo.core.errors import DataError, FormatError, MissingFileError
from bionemo.esm2.contacts.precision import contact_precision
from bionemo.esm2.contacts.structure import first_chain, structure_contacts


gemmi = pytest.importorskip("gemmi")
SEQUENCE = "MKGAYIWKQRDE"


def write_structure(path, chains, missing=()):
    """Write chains whose beta carbons lie on a line, 3 Å apart; names and numbers begin at 101."""
    structure = gemmi.Structure()
    model = gemmi.Model("1") if hasattr(gemmi.Model("1"), "name") else gemmi.Model(1)
    for name, sequence in chains.items():
        chain = gemmi.Chain(name)
        for place, letter in enumerate(sequence):
            if place in missing:
                continue
            residue = gemmi.Residue()
            residue.name = gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA)
            residue.seqid = gemmi.SeqId(str(place + 101))
            residue.entity_type = gemmi.EntityType.Polymer
            for atom_name, shift in (("N", 1.0), ("CA", 2.0), ("C", 3.0)) + (() if letter == "G" else (("CB", 0.0),)):
                atom = gemmi.Atom()
                atom.name, atom.element = atom_name, gemmi.Element(atom_name[0])
                atom.pos = gemmi.Position(3.0 * place, shift, 0.0)
                residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    if ".cif" in path.name:
        text = structure.make_mmcif_document().as_string()
    else:
        text = structure.make_pdb_string()
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["one.pdb", "one.cif", "one.cif.gz", "one.pdb.gz"])
def test_contacts_are_beta_carbons_closer_than_eight_angstrom(tmp_path, name):
    path = write_structure(tmp_path / name, {"A": SEQUENCE}, missing=(4, 5))
    found = structure_contacts(path, "AA" + SEQUENCE + "K")
    resolved = [False, False, *(place not in (4, 5) for place in range(12)), False]
    assert found.is_resolved_S.tolist() == resolved
    assert found.contacts_SS[2].tolist() == [False, False, True, True, True, *[False] * 10]  # 0, 3, 6 (glycine: CA) Å
    assert not found.contacts_SS[6].any()
    # the alpha carbon of glycine lies 2 Å aside: sqrt(6 * 6 + 2 * 2) = 6.3, sqrt(9 * 9 + ...) is too far
    assert found.contacts_SS[4].tolist() == [False, False, True, True, True, True, False, *[False] * 8]
    np.testing.assert_array_equal(found.contacts_SS, found.contacts_SS.T)


def test_the_sequence_is_that_of_seqres_or_of_what_is_seen(tmp_path):
    path = write_structure(tmp_path / "one.pdb", {"A": SEQUENCE}, missing=(4, 5))
    assert first_chain(path)[0] == "MKGAWKQRDE"
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    structure.entities[0].full_sequence = gemmi.expand_one_letter_sequence(SEQUENCE, gemmi.ResidueKind.AA)
    path.write_text(structure.make_pdb_string())
    assert first_chain(path)[0] == SEQUENCE
    assert structure_contacts(path, SEQUENCE).is_resolved_S.sum() == 10


def test_the_chain_that_fits_is_taken_and_others_are_refused(tmp_path):
    path = write_structure(tmp_path / "two.pdb", {"A": "WWWWHHHHWWWW", "B": SEQUENCE})
    assert structure_contacts(path, SEQUENCE).is_resolved_S.all()
    assert structure_contacts(path, SEQUENCE, "B").contacts_SS[0, 1]
    with pytest.raises(DataError, match=r"no chain fits the sequence of 12 residues: .* at least 90 % must be"):
        structure_contacts(path, SEQUENCE, "A")
    with pytest.raises(DataError, match="no protein chain 'C', found A, B"):
        structure_contacts(path, SEQUENCE, "C")
    with pytest.raises(MissingFileError, match="there is no such file"):
        structure_contacts(tmp_path / "none.pdb", SEQUENCE)
    (tmp_path / "bad.cif").write_text("no structure")
    with pytest.raises(FormatError, match=r"bad\.cif: "):
        structure_contacts(tmp_path / "bad.cif", SEQUENCE)
    (tmp_path / "empty.pdb").write_text("END\n")
    with pytest.raises(FormatError, match="holds no protein chain"):
        structure_contacts(tmp_path / "empty.pdb", SEQUENCE)


def test_precision_counts_resolved_pairs_of_each_range():
    predicted = np.zeros((40, 40), dtype=np.float32)
    contacts = np.zeros((40, 40), dtype=bool)
    resolved = np.arange(40) < 30  # L = 30: tops of 30, 15 and 6
    for number, (row, column, is_contact) in enumerate(
        [(0, 26, True), (1, 27, False), (2, 28, True), (3, 29, True), (0, 35, True), (0, 7, True), (0, 3, True)]
    ):
        predicted[row, column] = 10 - number
        contacts[row, column] = is_contact
    found = {(each.range, each.top): each for each in contact_precision(predicted, contacts, resolved)}
    assert found["long", "L/5"][2:] == (6, 3 / 6)  # 26, 27, 28, 29 and two of the rest
    assert found["long", "L"][2:] == (21, 3 / 21)  # all pairs there are: 6 + 5 + 4 + 3 + 2 + 1
    assert found["short", "L/2"][2:] == (15, 1 / 15)
    assert found["medium", "L"][2:] == (30, 0.0)
    assert found["all", "L/5"][2:] == (6, 4 / 6)
