# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import gzip

import pytest

from bionemo.testing.data.fasta import ALU_SEQUENCE, create_fasta_file, write_fasta
from bionemo.testing.proteins import Protein


def test_records_are_rotated_repeats_in_folded_lines(tmp_path):
    path = create_fasta_file(
        tmp_path / "x.fasta", 3, sequence_length=7, repeating_dna_pattern="ACgt", max_line_length=4
    )
    assert path.read_text() == ">contig_0\nACgt\nACg\n>contig_1\nCgtA\nCgt\n>contig_2\ngtAC\ngtA\n"


def test_lengths_of_each_record(tmp_path):
    path = create_fasta_file(tmp_path / "x.fasta", 20, sequence_lengths=list(range(81, 101)))
    lines = path.read_text().splitlines()
    assert [len(a) + len(b) for a, b in zip(lines[1::3], lines[2::3], strict=True)] == list(range(81, 101))
    assert lines[3 * 17 + 1].startswith(ALU_SEQUENCE)  # once around
    assert ALU_SEQUENCE not in {ALU_SEQUENCE.upper(), ALU_SEQUENCE.lower()}


def test_lengths_are_required_and_must_fit(tmp_path):
    with pytest.raises(AssertionError, match="Give sequence_length"):
        create_fasta_file(tmp_path / "x", 2)
    with pytest.raises(AssertionError, match="3 sequence_lengths for 2 sequences"):
        create_fasta_file(tmp_path / "x", 2, sequence_lengths=[1, 2, 3])


def test_proteins_plain_and_compressed(tmp_path):
    proteins = [Protein("a", "MKV" * 3, 0), Protein("b", "", 1)]
    text = ">a\nMKVMK\nVMKV\n>b\n"
    assert write_fasta(tmp_path / "x.fa", proteins, max_line_length=5).read_text() == text
    compressed = write_fasta(tmp_path / "x.fa.gz", proteins, max_line_length=5).read_bytes()
    assert gzip.decompress(compressed).decode() == text
    assert write_fasta(tmp_path / "y.fa.gz", proteins, max_line_length=5).read_bytes() == compressed
