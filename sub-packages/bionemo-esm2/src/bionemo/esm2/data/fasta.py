# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""FASTA files of proteins, read as a stream in constant memory; nothing in them is changed without a count.

- lower-case residues (soft masking) are read as residues;
- one ``*`` at the end of a sequence (a translated stop codon) is removed;
- white space around lines, blank lines and CRLF line ends are dropped; a record's id is the first word of its header;
- every other character outside the ESM-2 vocabulary makes its record bad: see `FastaPolicy`.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from bionemo.core.errors import FormatError
from bionemo.esm2.data.fasta_blocks import EncodedBlock, TextBlock, encode_block
from bionemo.esm2.data.fasta_files import FastaSource, fasta_paths, iter_text, name_of
from bionemo.esm2.data.fasta_policy import (
    BadRecordPolicy,
    FastaPolicy,
    FastaSummary,
    IllegalPolicy,
    RejectedRecord,
)
from bionemo.esm2.data.fasta_records import first_word
from bionemo.esm2.data.tokenizer import TOKEN_TO_ID


MAX_RECORD_BYTES = 64 * 2**20
"""No protein comes near (titin: 35 kB): longer records are chromosomes, or not FASTA."""

FILE_STRIDE = 2**40
"""More than the records of any file: see `EncodedBlock.places`."""

_BLOCK_BYTES = 8 * 2**20
_IDS_TO_TEXT = bytes(ord(token) if len(token) == 1 else ord("?") for token in TOKEN_TO_ID).ljust(256, b"?")


class FastaRecord(NamedTuple):
    """One protein."""

    id: str
    description: str
    sequence: str


def read_fasta(
    path: FastaSource,
    *,
    on_illegal: IllegalPolicy = "error",
    on_bad_record: BadRecordPolicy = "error",
    summary: FastaSummary | None = None,
    on_rejected: Callable[[RejectedRecord], object] | None = None,
) -> Iterator[FastaRecord]:
    r"""Iterate over the records of FASTA files.

    Args:
        path: FASTA file, folder of them, pipe, ``-`` for standard input, or a list of these; plain, or compressed
            with gzip, bzip2, xz or Zstandard.
        on_illegal: Whether a letter that ESM-2 does not know makes its record bad or becomes ``?`` in the text
            (``<unk>`` as a token).
        on_bad_record: What is done with bad records, see `FastaPolicy`.
        summary: Filled while reading.
        on_rejected: Called with each record that is left out.

    Yields:
        Records with upper-case sequences. Whether ids are unique is not looked at.

    Raises:
        MissingFileError: There is no such file.
        DataFileError: The file cannot be read, or its compressed stream is damaged or ends early.
        FormatError: The file is empty, is not FASTA, or a record has no id, no residues or a broken structure.
        DataError: A sequence holds a letter that ESM-2 does not know.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "in.fasta"
        >>> _ = path.write_text(">P1 first\nmkta\nYIAK*\n")
        >>> list(read_fasta(path))
        [FastaRecord(id='P1', description='first', sequence='MKTAYIAK')]
    """
    policy = FastaPolicy(on_illegal=on_illegal, on_bad_record=on_bad_record)
    summary = FastaSummary() if summary is None else summary
    for file in fasta_paths(path):
        for raw in _iter_text_blocks(name_of(file), iter_text(file, block_bytes=_BLOCK_BYTES)):
            block = encode_block(raw, policy, summary, on_rejected)
            for place, record_id, residues in zip(block.places, block.ids, block.residues, strict=True):
                words = raw.headers[place - raw.first_number].strip().split(None, 1)
                description = words[1].decode("utf-8", "replace") if len(words) > 1 else ""
                yield FastaRecord(record_id.decode(), description, residues.translate(_IDS_TO_TEXT).decode())


def iter_encoded_blocks(
    path: FastaSource,
    *,
    on_illegal: IllegalPolicy = "error",
    on_bad_record: BadRecordPolicy = "error",
    summary: FastaSummary | None = None,
    on_rejected: Callable[[RejectedRecord], object] | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Iterator[EncodedBlock]:
    """Iterate over FASTA files as token ids, some thousand records at a time.

    Args:
        path: As in `read_fasta`, like all that follow.
        on_illegal: As above.
        on_bad_record: As above.
        summary: As above.
        on_rejected: As above.
        on_progress: Called with the number of bytes of the files read since the last call.

    Yields:
        Blocks of about 8 MiB of text.

    Raises:
        MissingFileError, DataFileError, FormatError, DataError: As `read_fasta`.
    """
    policy = FastaPolicy(on_illegal=on_illegal, on_bad_record=on_bad_record)
    summary = FastaSummary() if summary is None else summary
    for file_idx, file in enumerate(fasta_paths(path)):
        text = iter_text(file, block_bytes=_BLOCK_BYTES, on_progress=on_progress)
        for raw in _iter_text_blocks(name_of(file), text):
            block = encode_block(raw, policy, summary, on_rejected)
            if file_idx:
                block = block._replace(places=[file_idx * FILE_STRIDE + number for number in block.places])
            if block.ids:
                yield block


def _iter_text_blocks(name: str, blocks: Iterator[bytes]) -> Iterator[TextBlock]:
    """Cut the text of one file before a header, after each block that holds one."""
    number = line = 1
    rest: bytes | None = None  # what may go on in the next block; None until the first header
    for block in blocks:
        if rest is None:
            start = block.removeprefix(b"\xef\xbb\xbf").lstrip()
            line += block[: len(block) - len(start)].count(b"\n")
            if not start:
                continue
            if not start.startswith(b">"):
                raise FormatError(f"{name}: is not FASTA: the first line must start with '>', found {start[:20]!r}.")
            rest, block = b"", start[1:]
        text = rest + block
        cut = text.rfind(b"\n>")
        if cut < 0:
            rest = text
        else:
            raw = TextBlock(name, text[:cut], first_number=number, first_line=line)
            yield raw
            number += len(raw)
            line += raw.num_lines
            rest = text[cut + 2 :]
        if len(rest) > MAX_RECORD_BYTES:
            raise FormatError(
                f"{name}: record {number} ({first_word(rest[:200]).decode('utf-8', 'replace')!r}) is "
                f"longer than {MAX_RECORD_BYTES // 2**20} MiB: no protein is. Is this a genome?"
            )
    if rest is None:
        raise FormatError(f"{name}: is empty. Expected FASTA: '>id' lines, each followed by residues.")
    yield TextBlock(name, rest, first_number=number, first_line=line)
