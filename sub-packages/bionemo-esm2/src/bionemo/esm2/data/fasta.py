# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""FASTA files of proteins, plain or gzip, read as a stream in constant memory and checked without mercy.

What is decided here, and counted in a `FastaSummary` instead of done silently:

- lower-case residues (soft masking) are read as residues;
- one ``*`` at the end of a sequence (a translated stop codon) is removed; anywhere else it is an illegal character;
- white space and CRLF line ends are dropped; a record's id is the first word of its header;
- the 25 letters of the ESM-2 vocabulary are legal: the twenty amino acids and X, B, U, Z, O. Everything else, J and
  the gap characters of alignments too, is an error that names record and character, or ``<unk>`` where asked for.
"""

import contextlib
import gzip
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal, NamedTuple, cast

import numpy as np

from bionemo.core.errors import DataError, DataFileError, FormatError, MissingFileError
from bionemo.esm2.data.tokenizer import TOKEN_TO_ID, UNK_ID


logger = logging.getLogger(__name__)

IllegalPolicy = Literal["error", "unk"]

_BLOCK_BYTES = 8 * 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_WHITE_SPACE = b" \t\n\r\x0b\x0c"
_LOWER, _STOP, _ILLEGAL = 64, 128, 255  # above all token ids, so that one comparison tells a clean sequence


def _encoding_table() -> bytes:
    table = bytearray([_ILLEGAL] * 256)
    for token, token_id in TOKEN_TO_ID.items():
        if len(token) == 1 and token.isalpha():
            table[ord(token)] = token_id
            table[ord(token.lower())] = token_id | _LOWER
    table[ord("*")] = _STOP
    return bytes(table)


_ENCODE = _encoding_table()
_IDS_TO_TEXT = bytes(ord(token) if len(token) == 1 else ord("?") for token in TOKEN_TO_ID).ljust(256, b"?")
_DROP_LOWER = bytes(value & ~_LOWER if value < _STOP else value for value in range(256))
_ILLEGAL_TO_UNK = bytes(UNK_ID if value >= _STOP else value for value in range(256))


@dataclass(kw_only=True)
class FastaSummary:
    """What a file held and what was changed while reading it."""

    num_sequences: int = 0
    num_residues: int = 0
    num_lower_case_residues: int = 0
    num_stops_removed: int = 0
    num_unknown_residues: int = 0

    def to_dict(self) -> dict[str, int]:
        """The counts as plain values."""
        return asdict(self)

    def log(self, path: str | os.PathLike[str]) -> None:
        """Log the counts; what was changed comes as a warning."""
        logger.info("%s: %d sequences, %d residues", path, self.num_sequences, self.num_residues)
        if self.num_lower_case_residues:
            logger.warning("%s: %d lower-case residues were read as residues", path, self.num_lower_case_residues)
        if self.num_stops_removed:
            logger.warning("%s: a final '*' was removed from %d sequences", path, self.num_stops_removed)
        if self.num_unknown_residues:
            logger.warning("%s: %d illegal characters were read as <unk>", path, self.num_unknown_residues)


class FastaRecord(NamedTuple):
    """One protein."""

    id: str
    description: str
    sequence: str


class EncodedBlock(NamedTuple):
    """Some consecutive records as token ids, without special tokens."""

    ids: list[bytes]
    """First word of each header."""

    residues: list[bytes]
    """Token ids of each sequence, one byte a residue."""


def read_fasta(
    path: str | os.PathLike[str], *, on_illegal: IllegalPolicy = "error", summary: FastaSummary | None = None
) -> Iterator[FastaRecord]:
    """Read records one by one.

    Args:
        path: FASTA file, plain or gzip (told by its first bytes).
        on_illegal: Whether an illegal character is an error or becomes ``?`` in the text (``<unk>`` as a token).
        summary: Filled while reading.

    Yields:
        Records with upper-case sequences.

    Raises:
        MissingFileError: There is no such file.
        DataFileError: The file cannot be read, or its gzip stream is damaged or ends early.
        FormatError: The file is empty, is not FASTA, or a header has no id or no residues.
        DataError: A sequence holds an illegal character.
    """
    summary = FastaSummary() if summary is None else summary
    for first_number, records in _iter_raw_blocks(path, None):
        block = _encode_records(path, first_number, records, on_illegal, summary)
        for record, record_id, residues in zip(records, block.ids, block.residues, strict=True):
            words = record.partition(b"\n")[0].strip().split(None, 1)
            description = words[1].decode("utf-8", "replace") if len(words) > 1 else ""
            yield FastaRecord(record_id.decode(), description, residues.translate(_IDS_TO_TEXT).decode())


def iter_encoded_blocks(
    path: str | os.PathLike[str],
    *,
    on_illegal: IllegalPolicy = "error",
    summary: FastaSummary | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Iterator[EncodedBlock]:
    """Read a file as token ids, some thousand records at a time; arguments and errors are those of `read_fasta`.

    Args:
        path: FASTA file, plain or gzip.
        on_illegal: Whether an illegal character is an error or ``<unk>``.
        summary: Filled while reading.
        on_progress: Called with the number of bytes of the file read since the last call.

    Yields:
        Blocks of about 8 MiB of text.
    """
    summary = FastaSummary() if summary is None else summary
    for first_number, records in _iter_raw_blocks(path, on_progress):
        yield _encode_records(path, first_number, records, on_illegal, summary)


def _iter_raw_blocks(
    path: str | os.PathLike[str], on_progress: Callable[[int], object] | None
) -> Iterator[tuple[int, list[bytes]]]:
    """Cut the file at its headers: number of the first record (from 1), and records without their ``>``."""
    number = 1
    rest: bytes | None = None  # what may go on in the next block; None until the first header
    with _open_binary(path) as (raw, stream):
        reported = 0
        while block := _read(path, stream, number):
            if on_progress is not None:
                position = raw.tell()
                on_progress(position - reported)
                reported = position
            if rest is None:
                block = block.removeprefix(b"\xef\xbb\xbf").lstrip()
                if not block:
                    continue
                if not block.startswith(b">"):
                    raise FormatError(
                        f"{path}: is not FASTA: the first line must start with '>', found {block[:20]!r}."
                    )
                rest, block = b"", block[1:]
            *records, rest = (rest + block).split(b"\n>")
            if records:
                yield number, records
                number += len(records)
    if rest is None:
        raise FormatError(f"{path}: is empty. Expected FASTA: '>id' lines, each followed by residues.")
    yield number, [rest]


def _encode_records(
    path: str | os.PathLike[str],
    first_number: int,
    records: list[bytes],
    on_illegal: IllegalPolicy,
    summary: FastaSummary,
) -> EncodedBlock:
    ids: list[bytes] = []
    residues: list[bytes] = []
    for record in records:
        header, _, body = record.partition(b"\n")
        ids.append((header.split(None, 1) or [b""])[0])
        residues.append(body.translate(_ENCODE, _WHITE_SPACE))
    # One look at all records: only where something is unusual, each is looked at on its own.
    largest = np.frombuffer(b"".join(residues), dtype=np.uint8).max(initial=0)
    if largest >= _LOWER or not all(residues) or not all(ids) or not _is_utf8(b" ".join(ids)):
        for offset, record in enumerate(records):
            _check_header(path, first_number + offset, record.partition(b"\n")[0])
            name = f"{path}: record {first_number + offset} ({ids[offset].decode()!r})"
            residues[offset] = _clean(name, residues[offset], record, on_illegal, summary)
    summary.num_sequences += len(ids)
    summary.num_residues += sum(map(len, residues))
    return EncodedBlock(ids, residues)


def _check_header(path: str | os.PathLike[str], number: int, header: bytes) -> None:
    if b"\r" in header.rstrip(b"\r"):
        raise FormatError(f"{path}: record {number}: lines end in a lone carriage return. Convert them to newlines.")
    if not header.strip():
        raise FormatError(f"{path}: record {number}: the header has no id. Expected '>id description'.")
    if not _is_utf8(header.split(None, 1)[0]):
        raise FormatError(f"{path}: record {number}: the id {header.split(None, 1)[0]!r} is not UTF-8 text.")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _clean(name: str, residues: bytes, record: bytes, on_illegal: IllegalPolicy, summary: FastaSummary) -> bytes:
    """Handle what is unusual in one sequence, and count it."""
    if residues.endswith(bytes([_STOP])):
        residues = residues[:-1]
        summary.num_stops_removed += 1
    if not residues:
        raise FormatError(f"{name}: the header has no residues after it. Remove the record or complete it.")
    upper = residues.translate(_DROP_LOWER)
    if upper != residues:
        summary.num_lower_case_residues += sum(a != b for a, b in zip(upper, residues, strict=True))
    if max(upper) < _STOP:
        return upper
    text = record.partition(b"\n")[2].translate(None, _WHITE_SPACE)
    places = [place for place, value in enumerate(upper) if value >= _STOP]
    if on_illegal == "error":
        character = text[places[0] : places[0] + 4].decode("utf-8", "replace")[0]
        hint = "A '*' is allowed at the end only. " if character == "*" else ""
        raise DataError(
            f"{name}: illegal character {character!r} at residue {places[0] + 1}. {hint}"
            "Expected the letters of the ESM-2 vocabulary (A-Z without J); correct the file or read them as <unk>."
        )
    summary.num_unknown_residues += len(places)
    return upper.translate(_ILLEGAL_TO_UNK)


@contextlib.contextmanager
def _open_binary(path: str | os.PathLike[str]) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a plain or gzip file; gives the file on disk, for its position, and the stream of its content."""
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such FASTA file. Check the path.")
    if path.is_dir():
        raise DataFileError(f"{path}: is a folder. Expected a FASTA file.")
    try:
        raw = path.open("rb")
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror}.") from error
    with raw:
        is_gzip = raw.read(2) == _GZIP_MAGIC
        is_empty = raw.seek(0, os.SEEK_END) == 0
        raw.seek(0)
        if path.suffix == ".gz" and not is_gzip and not is_empty:
            raise FormatError(f"{path}: is named .gz but is not gzip. Rename it, or compress it with gzip.")
        yield raw, cast("IO[bytes]", gzip.GzipFile(fileobj=raw, mode="rb")) if is_gzip else raw


def _read(path: str | os.PathLike[str], stream: IO[bytes], number: int) -> bytes:
    """Read one block; a damaged gzip stream is told with the record it reached."""
    try:
        return stream.read(_BLOCK_BYTES)
    except EOFError as error:
        raise DataFileError(
            f"{path}: the gzip stream is truncated (after record {number - 1}). Copy or download the file again."
        ) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataFileError(
            f"{path}: the gzip stream is damaged (after record {number - 1}): {error}. Copy or download it again."
        ) from error
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror or error}.") from error
