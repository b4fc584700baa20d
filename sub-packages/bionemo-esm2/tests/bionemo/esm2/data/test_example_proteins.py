# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bionemo.esm2.data.fasta import read_fasta
from bionemo.esm2.data.splits import split_train_valid


FOLDER = Path(__file__).parents[6] / "scripts" / "protein" / "esm2"
FASTA = FOLDER / "example_proteins.fasta"
pytestmark = pytest.mark.skipif(not FASTA.exists(), reason="the example proteins are part of the checkout only")


def test_the_maker_writes_the_shipped_file():
    done = subprocess.run([sys.executable, FOLDER / "make_example_proteins.py"], capture_output=True, check=True)
    assert done.stdout == FASTA.read_bytes()


def test_size_and_alphabet():
    records = list(read_fasta(FASTA))
    assert 300 <= len(records) <= 600
    assert FASTA.stat().st_size < 190_000
    assert len({record.id for record in records}) == len(records)
    assert set("".join(record.sequence for record in records)) == set("ACDEFGHIKLMNPQRSTVWY")
    assert len({record.id.rsplit("-", 1)[0] for record in records}) == 10


def test_no_validation_protein_is_a_training_protein_or_a_part_of_one():
    sequences = [record.sequence for record in read_fasta(FASTA)]
    train, valid = split_train_valid(len(sequences), 0.05, 42)
    assert not any(
        sequences[v] in sequences[t] or sequences[t] in sequences[v] for v, t in itertools.product(valid, train)
    )

    # What the maker's docstring says about relatedness: about four in ten words of 12 residues are shared.
    def words(idxs):
        return {sequences[i][start : start + 12] for i in idxs for start in range(len(sequences[i]) - 11)}

    known = words(train)
    shares = [np.mean([word in known for word in words([idx])]) for idx in valid]
    assert 0.3 < np.mean(shares) < 0.5
