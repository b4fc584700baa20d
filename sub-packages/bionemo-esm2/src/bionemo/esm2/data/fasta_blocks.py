# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Blocks of FASTA text: all records of a block are found and encoded at once, only unusual ones one by one.

Records are found by the line ends of the block, as arrays; the whole text, headers too, goes through one table that
reads lower case as upper case, and is cut afterwards. So soft masking costs no time.
"""

import string
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.esm2.data.fasta_policy import FastaPolicy, FastaSummary, RejectedRecord
from bionemo.esm2.data.fasta_records import (
    FOLD,
    IS_NUCLEOTIDE,
    MIN_NUCLEOTIDES,
    STOP,
    RecordText,
    encode_unusual,
    has_lone_return,
    is_nucleotide_like,
    is_utf8,
    reads_as_wrapped_header,
)


_LETTERS = np.frombuffer(string.ascii_letters.encode(), dtype=np.uint8)


class EncodedBlock(NamedTuple):
    """Some consecutive records as token ids, without special tokens."""

    ids: list[bytes]
    """First word of each header."""

    residues: list[bytes]
    """Token ids of each sequence, one byte a residue."""

    places: list[int]
    """Where each record stands: `FILE_STRIDE` times the number of its file, from 0, and its number in it, from 1."""


class TextBlock:
    r"""Consecutive records of one file as text.

    Args:
        file: What messages call the file.
        text: Records, the first without its ``>``, without the line end before the next record.
        first_number: Number of the first record in the file, from 1.
        first_line: Line of its header, from 1.

    >>> block = TextBlock("in.fasta", b"P1 first\nMKT\n>P2\nMS\nES", first_number=1, first_line=1)
    >>> len(block), block.header(1), block.record(1).line
    (2, b'P2', 3)
    """

    def __init__(self, file: str, text: bytes, *, first_number: int, first_line: int) -> None:
        self.file, self.text, self.first_number, self.first_line = file, text, first_number, first_line
        self.values: NDArray[np.uint8] = np.frombuffer(text, dtype=np.uint8)
        line_ends = np.flatnonzero(self.values == ord("\n"))
        following = self.values[np.minimum(line_ends + 1, len(text) - 1)]
        cuts = np.flatnonzero(following == ord(">"))  # of the line ends, those before a header
        self.num_lines = len(line_ends) + 1
        self.starts = np.concatenate([[0], line_ends[cuts] + 2])
        self.ends = np.concatenate([line_ends[cuts], [len(text)]])
        self._lines = np.concatenate([[0], cuts + 1])
        """Line ends before each record."""
        self._lines_at_end = np.concatenate([cuts, [len(line_ends)]])
        self._line_ends = np.concatenate([line_ends, [len(text)]])
        self.header_ends = np.minimum(self._line_ends[self._lines], self.ends)
        self.body_starts = np.minimum(self.header_ends + 1, self.ends)

    def __len__(self) -> int:
        return len(self.starts)

    def header(self, row: int) -> bytes:
        """Return a record's first line without ``>``."""
        return self.text[self.starts[row] : self.header_ends[row]]

    def record(self, row: int) -> RecordText:
        """Return one record as it stands in the file."""
        line = self.first_line + int(self._lines[row])
        return RecordText(self.file, self.first_number + row, line, self.text[self.starts[row] : self.ends[row]])

    @cached_property
    def headers(self) -> list[bytes]:
        """First line of each record."""
        text = self.text
        places = zip(self.starts.tolist(), self.header_ends.tolist(), strict=True)
        return [text[start:end] for start, end in places]

    @cached_property
    def has_returns(self) -> bool:
        """Whether a carriage return is anywhere in the text."""
        return b"\r" in self.text

    def encoded(self) -> list[bytes]:
        """Return the body of each record through `FOLD`, without line ends."""
        starts = self.body_starts - np.minimum(self._lines + 1, self._lines_at_end)
        ends = self.ends - self._lines_at_end
        if self.has_returns:
            returns = np.flatnonzero(self.values == ord("\r"))
            starts -= np.searchsorted(returns, self.body_starts)
            ends -= np.searchsorted(returns, self.ends)
        tokens = self.text.translate(FOLD, b"\r\n")
        return [tokens[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    @cached_property
    def is_lower(self) -> NDArray[np.bool_]:
        """Of each byte, whether it is a lower-case letter (or a byte above, which no sequence holds)."""
        return self.values >= ord("a")

    def num_lower(self) -> int:
        """Return the number of lower-case letters in the bodies of all records."""
        headers = np.frombuffer(b"".join(self.headers), dtype=np.uint8)
        return int(np.count_nonzero(self.is_lower)) - int(np.count_nonzero(headers >= ord("a")))

    def num_lower_of(self, row: int) -> int:
        """Return the number of lower-case letters in the body of one record."""
        return int(np.count_nonzero(self.is_lower[self.body_starts[row] : self.ends[row]]))

    def with_wrapped_headers(self) -> list[int]:
        """Return the rows whose first sequence line reads as the end of a wrapped header."""
        second_starts = self._line_ends[np.minimum(self._lines + 1, len(self._line_ends) - 1)] + 1
        rows = np.flatnonzero(second_starts < self.ends)  # those of at least two lines
        first, second = self.body_starts[rows], second_starts[rows]
        is_letter = np.isin(self.values[first], _LETTERS)
        rows = rows[~is_letter | (self.is_lower[first + 1] & ~self.is_lower[second])]  # very few of a real file
        return [row for row in rows.tolist() if reads_as_wrapped_header(self.record(row).text)]


def encode_block(
    raw: TextBlock,
    policy: FastaPolicy,
    summary: FastaSummary,
    on_rejected: Callable[[RejectedRecord], object] | None,
) -> EncodedBlock:
    """Encode the records of a block, and count in `summary` what was done to them.

    Raises:
        FormatError, DataError: As `bionemo.esm2.data.fasta_records.encode_unusual`.
    """
    ids = [(header.split(None, 1) or [b""])[0] for header in raw.headers]  # `first_word`, without its call
    residues = raw.encoded()
    joined = b"".join(residues)
    tokens: NDArray[np.uint8] = np.frombuffer(joined, dtype=np.uint8)
    lengths = np.fromiter(map(len, residues), dtype=np.int64, count=len(residues))
    odd: set[int] = set()
    stops: set[int] = set()
    if tokens.max(initial=0) >= STOP:
        odd, stops = _unusual_rows(tokens, np.cumsum(lengths))
        for row in stops:
            residues[row] = residues[row][:-1]
    num_lower = raw.num_lower()
    if num_lower:
        odd.update(raw.with_wrapped_headers())
    if not (all(ids) and all(residues) and is_utf8(b" ".join(ids))):
        odd.update(row for row, name in enumerate(ids) if not (name and residues[row] and is_utf8(name)))
    if raw.has_returns:
        odd.update(row for row, header in enumerate(raw.headers) if has_lone_return(header))
    # What follows is counted here for all records but the odd ones, which are counted where they are looked at.
    summary.num_lower_case_residues += num_lower - sum(map(raw.num_lower_of, odd))
    summary.num_stops_removed += len(stops - odd)
    rejected = set()
    for row in sorted(odd):
        encoded = encode_unusual(raw.record(row), policy, summary, on_rejected)
        if encoded is None:
            rejected.add(row)
        else:
            residues[row] = encoded
    may_be_nucleotides = set(_starting_with_nucleotides(tokens, lengths)) | odd
    summary.num_nucleotide_sequences += sum(is_nucleotide_like(residues[row]) for row in may_be_nucleotides - rejected)
    numbers = list(range(raw.first_number, raw.first_number + len(ids)))
    if rejected:
        kept = [row for row in range(len(ids)) if row not in rejected]
        ids, residues = [ids[row] for row in kept], [residues[row] for row in kept]
        numbers = [numbers[row] for row in kept]
    summary.num_sequences += len(ids)
    summary.num_residues += sum(map(len, residues)) if odd or stops else len(joined)
    return EncodedBlock(ids, residues, numbers)


def _unusual_rows(tokens: NDArray[np.uint8], ends: NDArray[np.int64]) -> tuple[set[int], set[int]]:
    """Return the rows that hold more than residues, and those that end in a ``*``."""
    places = np.flatnonzero(tokens >= STOP)
    rows = np.searchsorted(ends, places, side="right")
    is_stop = (tokens[places] == STOP) & (places == ends[rows] - 1)
    return set(rows[~is_stop].tolist()), set(rows[is_stop].tolist())


def _starting_with_nucleotides(tokens: NDArray[np.uint8], lengths: NDArray[np.int64]) -> list[int]:
    """Return the rows long enough to be told whose first four letters are nucleotides: they decide most sequences."""
    rows = np.flatnonzero(lengths >= MIN_NUCLEOTIDES)
    starts = (np.cumsum(lengths) - lengths)[rows]
    for offset in range(4):
        keep = IS_NUCLEOTIDE[tokens[starts + offset]]
        rows, starts = rows[keep], starts[keep]
    return [int(row) for row in rows]
