# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""FASTA files for tests."""

import gzip
from collections.abc import Iterable
from pathlib import Path

from bionemo.core.files import atomic_file, write_bytes
from bionemo.testing.proteins import Protein


# Mixed case on purpose: soft-masked genomes have it. The length, 17, shares no factor with usual line lengths.
ALU_SEQUENCE = "GGCcgggcgCGGTGgct"
"""A short DNA repeat to fill records with: the start of the Alu element's consensus."""


def create_fasta_file(
    fasta_file_path: Path,
    num_sequences: int,
    sequence_length: int | None = None,
    sequence_lengths: list[int] | None = None,
    repeating_dna_pattern: str = ALU_SEQUENCE,
    max_line_length: int = 80,
) -> Path:
    """Write records ``>contig_0``, ``>contig_1``, … of a DNA repeat, the i-th one rotated by i letters.

    Args:
        fasta_file_path: Where to write.
        num_sequences: Number of records.
        sequence_length: Letters of every record, unless ``sequence_lengths`` says each one's.
        sequence_lengths: One length per record.
        repeating_dna_pattern: Repeated to fill a record.
        max_line_length: Lines are folded at this many letters.

    Raises:
        AssertionError: Neither length is given, or the list has another number of entries than there are records.
    """
    assert sequence_length is not None or sequence_lengths is not None, "Give sequence_length or sequence_lengths."
    lengths = [sequence_length or 0] * num_sequences if sequence_lengths is None else sequence_lengths
    assert len(lengths) == num_sequences, f"{len(lengths)} sequence_lengths for {num_sequences} sequences."
    size = len(repeating_dna_pattern)
    with atomic_file(fasta_file_path, "w") as file:
        for index, length in enumerate(lengths):
            start = index % size
            sequence = (repeating_dna_pattern * (length // size + 2))[start : start + length]
            file.write(f">contig_{index}\n{_fold(sequence, max_line_length)}")
    return Path(fasta_file_path)


def write_fasta(path: Path, proteins: Iterable[Protein], *, max_line_length: int = 60) -> Path:
    """Write proteins as FASTA, compressed when the name ends in ``.gz``; the same input gives the same bytes."""
    text = "".join(f">{protein.id}\n{_fold(protein.sequence, max_line_length)}" for protein in proteins)
    data = text.encode()
    write_bytes(path, gzip.compress(data, mtime=0) if Path(path).suffix == ".gz" else data)
    return Path(path)


def _fold(sequence: str, width: int) -> str:
    return "".join(f"{sequence[start : start + width]}\n" for start in range(0, len(sequence), width))
