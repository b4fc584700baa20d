# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Generated FASTA files: each is read as an independent slow reader reads it, or refused by one line.

The slow reader goes through the text line by line and knows nothing of blocks, tables or bulk paths. 300 files with
every change, 10,000 nightly.
"""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bionemo.core.errors import DataError
from bionemo.esm2.data import fasta
from bionemo.esm2.data.fasta import read_fasta
from bionemo.esm2.data.fasta_policy import FastaSummary


KNOWN = set("ACDEFGHIKLMNPQRSTVWYXBUZO")
UNKNOWN = {"J", "*", "-", "."}


class Refused(Exception):
    """What the slow reader does not accept, of one record or of the whole file."""


def slow_read(data: bytes, on_illegal: str, on_bad_record: str) -> tuple[list[tuple[bytes, str]], int, int, int]:
    """Read ids and sequences; also the numbers of rejected records, lower-case letters and removed stops."""
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith(b">"):
        raise Refused("no record")
    groups: list[tuple[bytes, list[bytes]]] = []
    for line in text.split(b"\n"):
        if line.startswith(b">"):
            groups.append((line[1:], []))
        else:
            groups[-1][1].append(line)
    records, num_rejected, num_lower, num_stops = [], 0, 0, 0
    for header, lines in groups:
        try:
            name = slow_name(header)
            sequence, lower, stops = slow_sequence(
                [line.decode("latin-1") for line in lines], on_illegal, on_bad_record
            )
        except Refused:
            if on_bad_record == "error":
                raise
            num_rejected += 1
            continue
        records.append((name, sequence))
        num_lower += lower
        num_stops += stops
    return records, num_rejected, num_lower, num_stops


def slow_name(header: bytes) -> bytes:
    """First word of a header."""
    if b"\r" in header.rstrip(b"\r") or not header.split():
        raise Refused("header")
    try:
        header.split()[0].decode()
    except UnicodeDecodeError:
        raise Refused("id") from None
    return header.split()[0]


def slow_sequence(lines: list[str], on_illegal: str, on_bad_record: str) -> tuple[str, int, int]:
    """Residues of one record with ``?`` for <unk>, its lower-case letters, and whether a stop was removed."""
    space = " \t\n\r\x0b\x0c"
    lines = [line.replace("\r", "").strip(space) for line in lines]
    lines = [line for line in lines if line]
    for character in "".join(lines):
        if character.upper() not in KNOWN | UNKNOWN | set(space) or ord(character) > 127:
            raise Refused("structure")
    words = [
        [word for word in line.replace("\t", " ").replace("\x0b", " ").replace("\x0c", " ").split(" ") if word]
        for line in lines
    ]
    spaced = [row for row in words if len(row) > 1]
    if spaced:
        size = max(len(row[0]) for row in spaced)
        for row in words:
            if any(len(word) != size for word in row[:-1]) or len(row[-1]) > size:
                raise Refused("words")
    letters = [letter for row in words for word in row for letter in word]
    num_lower = sum(letter.islower() and letter != "j" for letter in letters)
    if num_lower and len(lines) > 1:
        first, second = lines[0], lines[1]
        if first[1:].islower() and len(first) < len(second) and second.isupper():
            raise Refused("wrapped header")
    letters = [letter.upper() for letter in letters]
    num_stops = int(letters[-1:] == ["*"])
    letters = letters[: len(letters) - num_stops]
    if not letters:
        raise Refused("empty")
    if on_illegal == "unk":
        letters = [letter if letter in KNOWN else "?" for letter in letters]
    elif on_bad_record == "fix":
        letters = [letter if letter in KNOWN else "X" for letter in letters if letter not in "-."]
    if not letters or set(letters) & UNKNOWN:
        raise Refused("letters")
    return "".join(letters), num_lower, num_stops


RESIDUES = st.text(alphabet="MKTAYIAKQRQISFVKSHFSRQ", min_size=1, max_size=12)
LINES = st.one_of(
    RESIDUES,
    RESIDUES.map(str.lower),
    RESIDUES.map(str.capitalize),
    st.lists(st.text(alphabet="MKTay", min_size=3, max_size=3), min_size=1, max_size=3).map(" ".join),
    st.text(alphabet="MKJj*-.X", max_size=6),
    st.text(alphabet="MKacgt 0129=|>(\tJ*\x0b", max_size=8),
    st.sampled_from(["", " ", "*", "MK*", "kinase like", "OS=Homo sapiens", "ACGTACGTACGTACGTACGTACGT"]),
)
HEADERS = st.one_of(
    st.text(alphabet="abc|_ 12\t", max_size=6), st.sampled_from(["", " ", "a b", "\r", "\u00e9", "x\ry", "\udcff"])
)
RECORDS = st.tuples(HEADERS, st.lists(LINES, max_size=4), st.sampled_from(["\n", "\n", "\r\n"]))
FILES = st.builds(
    lambda start, records, end: (
        start
        + "".join(f">{header}{eol}" + "".join(line + eol for line in lines) for header, lines, eol in records)
        + end
    ).encode("utf-8", "surrogateescape"),
    st.sampled_from(["", "", "", "\ufeff", "\n\r\n ", "M\n"]),
    st.lists(RECORDS, max_size=6),
    st.sampled_from(["", "", "MK", ">", "\n\n"]),
)


def check_file(data: bytes, on_illegal: str, on_bad_record: str, block_bytes: int) -> None:
    """Compare both readers on one file."""
    summary, rejected = FastaSummary(), []
    try:
        expected = slow_read(data, on_illegal, on_bad_record)
    except Refused:
        expected = None
    with tempfile.NamedTemporaryFile(suffix=".fasta") as file, pytest.MonkeyPatch.context() as patch:
        Path(file.name).write_bytes(data)
        patch.setattr(fasta, "_BLOCK_BYTES", block_bytes)
        records = read_fasta(
            file.name,
            on_illegal=on_illegal,
            on_bad_record=on_bad_record,
            summary=summary,
            on_rejected=rejected.append,
        )
        if expected is None:
            with pytest.raises(DataError) as caught:
                list(records)
            assert str(caught.value).startswith(file.name)
            assert "\n" not in str(caught.value)
            return
        found = [(record.id.encode(), record.sequence) for record in records]
    assert (found, len(rejected), summary.num_lower_case_residues, summary.num_stops_removed) == expected
    assert summary.num_records_rejected == len(rejected)
    assert (summary.num_sequences, summary.num_residues) == (len(found), sum(len(sequence) for _, sequence in found))


CASES = given(
    FILES,
    st.sampled_from(["error", "unk"]),
    st.sampled_from(["error", "skip", "fix"]),
    st.sampled_from([4, 7, 64, 2**20]),
)
QUIET = [HealthCheck.too_slow]


@settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
@CASES
def test_a_file_is_read_as_the_slow_reader_does_or_refused_by_one_line(data, on_illegal, on_bad_record, block_bytes):
    check_file(data, on_illegal, on_bad_record, block_bytes)


@pytest.mark.nightly
@settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=QUIET)
@CASES
def test_ten_thousand_files(data, on_illegal, on_bad_record, block_bytes):
    check_file(data, on_illegal, on_bad_record, block_bytes)
