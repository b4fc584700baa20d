# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Variants of a CSV, TSV or Parquet file as rows of text."""

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bionemo.core.errors import DataFileError, FormatError, MissingFileError


VARIANT_COLUMNS, PROTEIN_COLUMNS, CHAIN_COLUMNS = (
    ("mutant", "mutation", "variant"),
    ("protein", "protein_id"),
    ("chain",),
)
"""Names that are looked for, in this order."""


class TableRow(NamedTuple):
    """One row as text; None where the table has no such column."""

    row: int
    variant: str
    protein: str | None
    chain: str | None
    measured: str | None


@dataclass(frozen=True, kw_only=True)
class VariantFile:
    """Where variants are read from.

    Attributes:
        path: CSV, TSV or Parquet file; text also compressed.
        variant_column: None: the first of `VARIANT_COLUMNS` that is there.
        protein_column: Id of the wild type; None: the first of `PROTEIN_COLUMNS`; not needed with one wild type.
        chain_column: Chain in whose numbering a variant is written; None: `CHAIN_COLUMNS`.
        measured_column: Measured values; None: not read.
    """

    path: Path
    variant_column: str | None = None
    protein_column: str | None = None
    chain_column: str | None = None
    measured_column: str | None = None

    def rows(self) -> Iterator[TableRow]:
        """Iterate over the rows.

        Raises:
            MissingFileError: There is no such file.
            DataFileError: It cannot be read.
            FormatError: It is no such table, or lacks a column.
        """
        if not self.path.is_file():
            raise MissingFileError(f"{self.path}: there is no such file. Check the path.")
        records = self._parquet_records() if self.path.name.lower().endswith(".parquet") else self._text_records()
        columns: list[str | None] | None = None
        for row, record in enumerate(records):
            columns = columns or self._columns(list(record))
            found = [None if name is None else record[name] for name in columns]
            variant, protein, chain, measured = (None if value is None else str(value).strip() for value in found)
            yield TableRow(row, variant or "", protein, chain, measured)

    def _columns(self, names: list[str]) -> list[str | None]:
        wanted = (
            ("--variant-column", self.variant_column, VARIANT_COLUMNS, True),
            ("--protein-column", self.protein_column, PROTEIN_COLUMNS, False),
            ("--chain-column", self.chain_column, CHAIN_COLUMNS, False),
            ("--measured-column", self.measured_column, (), False),
        )
        found: list[str | None] = []
        for flag, given, defaults, is_needed in wanted:
            candidates = defaults if given is None else (given,)
            name = next((name for name in candidates if name in names), None)
            if name is None and (is_needed or given is not None):
                raise FormatError(
                    f"{self.path}: no column {' or '.join(candidates)}, found {', '.join(names)}. Name one: {flag}."
                )
            found.append(name)
        return found

    def _text_records(self) -> Iterator[dict[str, Any]]:
        from xopen import xopen

        delimiter = "\t" if ".tsv" in self.path.name.lower() else ","
        try:
            with xopen(self.path, "rt", encoding="utf-8-sig", newline="", threads=0) as file:
                reader = csv.DictReader(file, delimiter=delimiter)
                for record in reader:
                    if None in record or None in record.values():
                        raise FormatError(
                            f"{self.path}: line {reader.line_num} has another number of fields than the header, "
                            f"{len(reader.fieldnames or ())}. Correct the file."
                        )
                    yield record
        except (OSError, EOFError, zlib.error) as error:
            raise DataFileError(f"{self.path}: cannot be read: {error}.") from error
        except (csv.Error, UnicodeDecodeError) as error:
            raise FormatError(f"{self.path}: is no table in UTF-8 text: {error}. Correct the file.") from error

    def _parquet_records(self) -> Iterator[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=1024):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowInvalid) as error:
            raise DataFileError(f"{self.path}: cannot be read as Parquet: {error}.") from error
