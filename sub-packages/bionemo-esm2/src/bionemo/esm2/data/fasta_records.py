# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Single FASTA records: from text to token ids, what may be in them, and what becomes of those that are not proteins.

Three kinds of text in a sequence are told apart:

- residues: the 25 letters of the ESM-2 vocabulary, lower case (soft masking) included; one ``*`` at the end (a
  translated stop codon) is removed;
- letters that ESM-2 does not know: J, an inner ``*``, the gaps ``-`` and ``.`` of alignments. They are the matter of
  `FastaPolicy.on_illegal`;
- broken structure: ``>`` inside a line, digits, punctuation, words of a wrapped header. Never read as residues,
  whatever the policy.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bionemo.core.errors import DataError, FormatError
from bionemo.esm2.data.fasta_policy import FastaPolicy, FastaSummary, IllegalPolicy, RejectedRecord
from bionemo.esm2.data.tokenizer import TOKEN_TO_ID, UNK_ID


WHITE_SPACE = b" \t\n\r\x0b\x0c"
_NEWLINES = b"\r\n"
_LOWER_BIT = 64  # added to a token id; all that is unusual lies above all token ids
STOP, _GAP, _NO_TOKEN, _SPACE, _BROKEN = 128, 129, 130, 131, 255


def _encoding_table() -> bytes:
    table = bytearray([_BROKEN] * 256)
    for token, token_id in TOKEN_TO_ID.items():
        if len(token) == 1 and token.isalpha():
            table[ord(token)] = token_id
            table[ord(token.lower())] = token_id | _LOWER_BIT
    for characters, value in (("*", STOP), ("-.", _GAP), ("Jj", _NO_TOKEN), (" \t\x0b\x0c", _SPACE)):
        for character in characters:
            table[ord(character)] = value
    return bytes(table)


ENCODE = _encoding_table()
"""Byte of text to token id, or to a value of 64 and more where it is no upper-case residue."""
_TOKENS = bytes(range(_LOWER_BIT))
_LOWERS = bytes(range(_LOWER_BIT, 2 * _LOWER_BIT))
_TOKENS_AND_LETTERS = bytes(range(_SPACE))
_GAPS = bytes([_GAP])
_DROP_LOWER = bytes(value & ~_LOWER_BIT if value < STOP else value for value in range(256))
FOLD = ENCODE.translate(_DROP_LOWER)
"""As `ENCODE`, but lower-case residues are read as upper-case ones."""
_TO_UNK = bytes(UNK_ID if value >= STOP else value for value in range(256))
_TO_X = bytes(TOKEN_TO_ID["X"] if value >= STOP else value for value in range(256))
_NUCLEOTIDE_IDS = bytes(TOKEN_TO_ID[letter] for letter in "ACGTUN")
MIN_NUCLEOTIDES = 20
"""Length from which a sequence may be told to be nucleotides."""
IS_NUCLEOTIDE = np.isin(np.arange(256), list(_NUCLEOTIDE_IDS))
"""[256] bool: of each token id, whether it is A, C, G, T, U or N."""
_NUCLEOTIDES = re.compile(  # 20 residues of a protein are all among these with a chance of 1e-11
    b"[%s]{20,59}(?:$|[%s])" % (2 * (re.escape(_NUCLEOTIDE_IDS),)), re.DOTALL
)


class RecordText(NamedTuple):
    """A record as it stands in the file."""

    file: str
    number: int
    line: int
    text: bytes
    """Without the leading ``>``."""

    @property
    def header(self) -> bytes:
        """First line."""
        return self.text.partition(b"\n")[0]

    @property
    def body(self) -> bytes:
        """Sequence lines."""
        return self.text.partition(b"\n")[2]

    @property
    def id(self) -> str:
        """First word of the header; bytes that are not UTF-8 are replaced."""
        return first_word(self.header).decode("utf-8", "replace")

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.file}: record {self.number} ({self.id!r})"


def first_word(header: bytes) -> bytes:
    """Return the id of a header; empty where it has none."""
    return (header.split(None, 1) or [b""])[0]


def encode_unusual(
    record: RecordText,
    policy: FastaPolicy,
    summary: FastaSummary,
    on_rejected: Callable[[RejectedRecord], object] | None,
) -> bytes | None:
    """Encode one record that may hold more than upper-case residues, and count what is done to it.

    Returns:
        Token ids of the sequence, one byte a residue, without special tokens; None where the record is left out.

    Raises:
        FormatError: Broken structure, no residues or no id, and the policy is ``"error"``.
        DataError: A letter that ESM-2 does not know, and the policies are ``"error"``.
    """
    try:
        _check_header(record)
        return _encode_body(record, policy, summary)
    except DataError as error:  # FormatError too
        if policy.on_bad_record == "error":
            raise
        summary.num_records_rejected += 1
        if on_rejected is not None:
            reason = str(error).removeprefix(f"{record.name}: ").removeprefix(f"{record.file}: ")
            on_rejected(RejectedRecord(record.file, record.number, record.line, record.id, reason))
        return None


def encode_residues(name: str, sequence: str, on_illegal: IllegalPolicy) -> bytes:
    """Encode one sequence that comes from elsewhere than a FASTA file, by the same rules; white space is an error.

    Args:
        name: What messages call it.
        sequence: Residues.
        on_illegal: Whether a letter that ESM-2 does not know is an error or becomes ``<unk>``.

    Returns:
        Token ids, one byte a residue, without special tokens.

    Raises:
        DataError: The message names the first character that is no residue.
    """
    text = sequence.encode()
    values = text.translate(ENCODE).translate(_DROP_LOWER).removesuffix(bytes([STOP]))
    refused = values.translate(None, _TOKENS if on_illegal == "error" else _TOKENS_AND_LETTERS)
    if not refused:
        return values.translate(_TO_UNK)
    place = values.index(refused[0])
    hint = ", or choose --illegal unk (on_illegal='unk')" if refused[0] < _SPACE else ""
    raise DataError(
        f"{name}: Character {_character(text, place)!r} at position {place + 1} is no token of ESM-2. Expected the "
        f"letters of its vocabulary (A-Z without J). Correct the sequence{hint}."
    )


def encode_sequence(name: object, sequence: str) -> bytes:
    """Encode one sequence that is in memory, `encode_residues` without unknown letters.

    Raises:
        DataError: It holds none, or a character that is no residue; the message says "sequence" and the name.
    """
    residues = encode_residues(f"sequence {name}", sequence, "error")
    if not residues:
        raise DataError(f"sequence {name}: has no residues.")
    return residues


def is_nucleotide_like(tokens: bytes) -> bool:
    """Return whether a sequence of 20 and more residues begins with 60 (or all) that are A, C, G, T, U or N."""
    return _NUCLEOTIDES.match(tokens) is not None


def has_lone_return(header: bytes) -> bool:
    """Return whether a header holds a carriage return that does not end it: a line end of old text files."""
    return b"\r" in header.rstrip(b"\r")


def is_utf8(text: bytes) -> bool:
    """Return whether bytes are UTF-8 text."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_header(record: RecordText) -> None:
    where = f"{record.file}: record {record.number}"
    if has_lone_return(record.header):
        raise FormatError(f"{where}: lines end in a lone carriage return. Convert them to newlines.")
    if not record.header.strip():
        raise FormatError(f"{where}: the header has no id (line {record.line}). Expected '>id description'.")
    if not is_utf8(first_word(record.header)):
        raise FormatError(f"{where}: the id {first_word(record.header)!r} is not UTF-8 text.")


def _encode_body(record: RecordText, policy: FastaPolicy, summary: FastaSummary) -> bytes:
    values = record.body.translate(ENCODE, _NEWLINES)
    if _SPACE in values or (unusual := values.translate(None, _TOKENS)).translate(None, _LOWERS):
        if _BROKEN in values:
            raise _broken_character(record)
        _check_white_space(record)
        values = record.body.translate(ENCODE, WHITE_SPACE)
        unusual = values.translate(None, _TOKENS)
    num_lower = len(unusual.translate(None, bytes(range(STOP, 256))))
    if num_lower:
        if reads_as_wrapped_header(record.text):
            raise _wrapped_header(record)
        values = values.translate(_DROP_LOWER)
    has_stop = values.endswith(bytes([STOP]))
    values = values[:-1] if has_stop else values
    was_fixed = False
    if not values:
        raise _without_residues(record)
    if illegal := values.translate(None, _TOKENS):
        if policy.on_illegal == "unk":
            summary.num_unknown_residues += len(illegal)
            values = values.translate(_TO_UNK)
        elif policy.on_bad_record == "fix":
            was_fixed = True
            values = values.translate(_TO_X, _GAPS)
        else:
            raise _illegal_letter(record, values)
    if not values:
        raise _without_residues(record)
    summary.num_records_fixed += was_fixed
    summary.num_stops_removed += has_stop
    summary.num_lower_case_residues += num_lower
    return values


def _check_white_space(record: RecordText) -> None:
    """Refuse lines of words: white space separates blocks of one size, throughout the record, or is not there."""
    lines = _lines(record)
    blocks = [line.split() for _, line in lines]
    if all(len(words) == 1 for words in blocks):
        return  # white space around the lines only
    size = max(len(words[0]) for words in blocks if len(words) > 1)
    odd = [
        row for row, words in enumerate(blocks) if {len(word) for word in words[:-1]} - {size} or len(words[-1]) > size
    ]
    if odd:
        spaced = [row for row, words in enumerate(blocks) if len(words) > 1]
        number, line = lines[next((row for row in odd if row in spaced), spaced[0])]
        raise FormatError(
            f"{record.name}: line {number} {_shorten(line)} reads as words, not as residues. A header must stand on "
            "one line; inside a sequence, white space may only separate blocks of one size. Join the header's "
            "lines, or remove the white space."
        )


def reads_as_wrapped_header(text: bytes) -> bool:
    """Return whether the first sequence line is like a word (lower case, or a capital first) above a longer one."""
    first = text.find(b"\n") + 1
    second = text.find(b"\n", first) + 1
    if text[first : first + 1].isalpha() and (not second or text[second : second + 1].islower()):
        return False  # decides nearly all lower-case records without splitting their lines
    lines = [line.strip() for line in text.split(b"\n")[1:] if line.strip()][:2]
    return len(lines) == 2 and lines[0][1:].islower() and len(lines[0]) < len(lines[1]) and lines[1].isupper()


def _wrapped_header(record: RecordText) -> FormatError:
    number, first = _lines(record)[0]
    return FormatError(
        f"{record.name}: line {number} {_shorten(first)} reads as the end of a header that was wrapped: lower case, "
        "and shorter than the upper-case line after it. Join it with the header, or write the residues in upper case."
    )


def _broken_character(record: RecordText) -> FormatError:
    """Describe the first character that no sequence holds."""
    num_before = 0
    for number, line in _lines(record):
        values = line.translate(ENCODE)
        place = values.find(_BROKEN)
        residue = num_before + len(line[: max(place, 0)].translate(None, WHITE_SPACE)) + 1
        if place < 0:
            num_before += len(line.translate(None, WHITE_SPACE))
        elif line[place : place + 1] == b">":
            return FormatError(
                f"{record.name}: illegal character '>' at residue {residue}. Line {number}: the line break before the "
                f"header {_shorten(line[place:])} is missing. Put it on its own line."
            )
        else:
            return FormatError(
                f"{record.name}: illegal character {_character(line, place)!r} at residue {residue}. Line {number} "
                f"{_shorten(line)}: digits, punctuation and text are never read as residues. Is a header wrapped, or "
                "a numbering left in the sequence? Correct the file."
            )
    raise AssertionError("called for a record without such a character")


def _illegal_letter(record: RecordText, values: bytes) -> DataError:
    """Describe the first letter that ESM-2 does not know."""
    place = next(place for place, value in enumerate(values) if value >= STOP)
    num_before = 0
    for number, line in _lines(record):
        letters = line.translate(None, WHITE_SPACE)
        if place < num_before + len(letters):
            character = _character(letters, place - num_before)
            hint = "A '*' is allowed at the end only. " if character == "*" else ""
            return DataError(
                f"{record.name}: illegal character {character!r} at residue {place + 1}. {hint}Line {number}: "
                "expected the letters of the ESM-2 vocabulary (A-Z without J). Correct the file, or choose --illegal "
                "unk (on_illegal='unk') or --on-bad-record skip or fix (on_bad_record)."
            )
        num_before += len(letters)
    raise AssertionError("called for a record without such a letter")


def _without_residues(record: RecordText) -> FormatError:
    return FormatError(
        f"{record.name}: the header has no residues after it (line {record.line}). Remove the record or complete it, "
        "or choose --on-bad-record skip (on_bad_record='skip')."
    )


def _lines(record: RecordText) -> list[tuple[int, bytes]]:
    """Return the lines of the sequence that are not blank, stripped, with their numbers in the file."""
    lines = record.body.replace(b"\r", b"").split(b"\n")
    numbered = ((record.line + 1 + offset, line.strip()) for offset, line in enumerate(lines))
    return [(number, line) for number, line in numbered if line]


def _character(line: bytes, place: int) -> str:
    return line[place : place + 4].decode("utf-8", "replace")[0]


def _shorten(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
