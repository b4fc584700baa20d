# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Proteins of a FASTA file or a table as a stream: id, row in input order, token ids.

Rows count every record, bad ones too, so that they agree with the rows of the input. Ids may occur more than once.
"""

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bionemo.core.errors import ConfigError, DataFileError, FormatError, MissingFileError
from bionemo.esm2.data.fasta import iter_encoded_blocks
from bionemo.esm2.data.fasta_files import fasta_paths, is_stream, iter_text
from bionemo.esm2.data.fasta_policy import (
    BadRecordPolicy,
    FastaPolicy,
    FastaSummary,
    IllegalPolicy,
    RejectedRecord,
)
from bionemo.esm2.data.fasta_records import RecordText, encode_unusual


SEQUENCE_COLUMNS, ID_COLUMNS = ("sequences", "sequence"), ("id",)
"""Names that are looked for, in this order."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_BLOCK_BYTES = 2**20

OnRejected = Callable[[RejectedRecord], object]
TableRow = tuple[str | None, str | None, tuple[str | None, ...]]
"""Id, sequence and the cells of further columns."""


class Protein(NamedTuple):
    """One protein of the input."""

    row: int
    """Place in the input, from 0."""

    id: str
    residues: bytes
    """Token ids, one byte a residue, without special tokens; at least one."""

    cells: tuple[str | None, ...] = ()
    """Of the further columns that were asked for."""


@dataclass(frozen=True, kw_only=True)
class ProteinFile:
    """Where proteins are read from, and what is done with bad records.

    Attributes:
        path: FASTA file or folder, CSV, TSV or Parquet file.
        sequence_column: Column of a table; None: the first of `SEQUENCE_COLUMNS` that is there.
        id_column: Column of a table; None: `ID_COLUMNS`, else the row number.
        on_illegal: See `FastaPolicy`, like what follows.
        on_bad_record: See `FastaPolicy`.
        more_columns: Columns of a table whose cells are wanted too.
    """

    path: Path
    sequence_column: str | None = None
    id_column: str | None = None
    on_illegal: IllegalPolicy = "error"
    on_bad_record: BadRecordPolicy = "error"
    more_columns: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """``.csv``, ``.tsv``, ``.parquet`` or ``.fasta``, by the name of the file."""
        name = self.path.name.lower()
        for suffix in _COMPRESSED:
            name = name.removesuffix(suffix)
        return next((suffix for suffix in (*_DELIMITERS, ".parquet") if name.endswith(suffix)), ".fasta")

    def files(self) -> list[Path]:
        """Return the files, to be compared by their content.

        Raises:
            MissingFileError: There is no such file.
            ConfigError: A stream is given, which a resumed run could not read again, or columns of a FASTA file.
        """
        if is_stream(self.path):
            raise ConfigError(f"--data-path {self.path}: a stream cannot be read again after a kill. Give a file.")
        if self.kind == ".fasta":
            if self.sequence_column is not None or self.id_column is not None:
                raise ConfigError(
                    f"--sequence-column and --id-column belong to tables, but {self.path} is read as FASTA. Leave "
                    "them out, or name the file .csv, .tsv or .parquet."
                )
            return fasta_paths(self.path)
        if not self.path.is_file():
            raise MissingFileError(f"{self.path}: there is no such file. Check the path.")
        return [self.path]

    def proteins(self, summary: FastaSummary, on_rejected: OnRejected | None = None) -> Iterator[Protein]:
        """Iterate over the proteins in constant memory.

        Args:
            summary: Filled while reading.
            on_rejected: Called with each record that is left out.

        Raises:
            DataFileError: The file cannot be read.
            FormatError: It is not of its kind, lacks a column, or a record has no residues or a broken structure.
            DataError: A sequence holds a letter that ESM-2 does not know.
        """
        if self.kind == ".fasta":
            return self._of_fasta(summary, on_rejected)
        return self._of_table(summary, on_rejected)

    def _of_fasta(self, summary: FastaSummary, on_rejected: OnRejected | None) -> Iterator[Protein]:
        before = last = 0

        def reject(record: RejectedRecord) -> None:
            nonlocal last
            last = max(last, record.record)
            if on_rejected is not None:
                on_rejected(record)

        for file in fasta_paths(self.path):
            blocks = iter_encoded_blocks(
                file,
                on_illegal=self.on_illegal,
                on_bad_record=self.on_bad_record,
                summary=summary,
                on_rejected=reject,
            )
            for block in blocks:
                for name, residues, number in zip(block.ids, block.residues, block.places, strict=True):
                    yield Protein(before + number - 1, name.decode(), residues)
                last = max(last, block.places[-1])
            before, last = before + last, 0

    def _of_table(self, summary: FastaSummary, on_rejected: OnRejected | None) -> Iterator[Protein]:
        policy = FastaPolicy(on_illegal=self.on_illegal, on_bad_record=self.on_bad_record)
        rows = self._parquet_rows() if self.kind == ".parquet" else self._text_rows()
        for row, (name, sequence, cells) in enumerate(rows):
            name = str(row) if name is None else name
            text = f"{name}\n{sequence or ''}".encode()
            residues = encode_unusual(RecordText(str(self.path), row + 1, row + 2, text), policy, summary, on_rejected)
            if residues is None:
                continue
            summary.num_sequences += 1
            summary.num_residues += len(residues)
            yield Protein(row, name, residues, cells)

    def _text_rows(self) -> Iterator[TableRow]:
        reader = csv.reader(lines_of(self.path), delimiter=_DELIMITERS[self.kind])
        try:
            columns = next(reader, [])
            id_place, sequence_place, more = self._places(columns)
            for row in reader:
                if not row:
                    continue  # a blank line
                if len(row) != len(columns):
                    raise FormatError(
                        f"{self.path}: line {reader.line_num} has {len(row)} fields, the header {len(columns)}. "
                        "Correct the file."
                    )
                cells = tuple(row[place] for place in more)
                yield None if id_place is None else row[id_place], row[sequence_place], cells
        except csv.Error as error:
            raise FormatError(f"{self.path}: line {reader.line_num}: {error}. Correct the file.") from error

    def _parquet_rows(self) -> Iterator[TableRow]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                columns = list(file.schema_arrow.names)
                id_place, sequence_place, more = self._places(columns)
                names = [columns[place] for place in (sequence_place, id_place, *more) if place is not None]
                for batch in file.iter_batches(batch_size=1024, columns=list(dict.fromkeys(names))):
                    sequences = batch.column(names[0]).to_pylist()
                    ids = [None] * len(sequences) if id_place is None else batch.column(names[1]).to_pylist()
                    others = [map(_as_text, batch.column(columns[place]).to_pylist()) for place in more]
                    cells = zip(*others, strict=True) if others else [()] * len(sequences)
                    for name, sequence, row in zip(ids, sequences, cells, strict=True):
                        if sequence is not None and not isinstance(sequence, str):
                            raise FormatError(f"{self.path}: column {names[0]!r} holds no text. Name another column.")
                        yield None if name is None else str(name), sequence, tuple(row)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataFileError(f"{self.path}: cannot be read as Parquet: {error}.") from error

    def _places(self, columns: Sequence[str]) -> tuple[int | None, int, list[int]]:
        """Places of the columns of ids and sequences, and of further ones."""
        sequence = _find(columns, self.sequence_column, SEQUENCE_COLUMNS)
        if sequence is None:
            wanted = self.sequence_column or " or ".join(SEQUENCE_COLUMNS)
            raise FormatError(
                f"{self.path}: no column {wanted}, found {', '.join(columns) or 'none'}. Name one: --sequence-column."
            )
        name = _find(columns, self.id_column, ID_COLUMNS)
        if name is None and self.id_column is not None:
            raise FormatError(
                f"{self.path}: no column {self.id_column}, found {', '.join(columns)}. Name another --id-column."
            )
        for column in self.more_columns:
            if column not in columns:
                raise FormatError(f"{self.path}: no column {column}, found {', '.join(columns)}.")
        return name, sequence, [columns.index(column) for column in self.more_columns]


def _as_text(value: object) -> str | None:
    """Return a cell of a Parquet file as a CSV file would hold it; lists as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, list) else str(value)


def _find(columns: Sequence[str], wanted: str | None, defaults: Sequence[str]) -> int | None:
    names = defaults if wanted is None else (wanted,)
    return next((columns.index(name) for name in names if name in columns), None)


def lines_of(path: Path) -> Iterator[str]:
    """Lines of a text file, plain or compressed, with their ends."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest = ""
    try:
        for block in iter_text(path, block_bytes=_BLOCK_BYTES):
            *lines, rest = (rest + decoder.decode(block)).split("\n")
            for line in lines:
                yield line + "\n"
        rest += decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is not UTF-8 text: {error.reason}. Convert it.") from error
    if rest:
        yield rest
