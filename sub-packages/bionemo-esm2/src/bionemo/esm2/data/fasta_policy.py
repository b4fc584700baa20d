# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What is done with FASTA records that are not proteins as ESM-2 reads them, and the counts of what was done."""

import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal, NamedTuple


logger = logging.getLogger(__name__)

IllegalPolicy = Literal["error", "unk"]
BadRecordPolicy = Literal["error", "skip", "fix"]
DuplicatePolicy = Literal["error", "skip", "number"]

REJECTED_NAME = "rejected.tsv"
_NUCLEOTIDE_SHARE = 0.01  # of the sequences, from which on a warning comes


@dataclass(frozen=True, kw_only=True)
class FastaPolicy:
    """What is done with records that are not proteins as ESM-2 reads them.

    Attributes:
        on_illegal: Whether a letter that ESM-2 does not know is an error of its record or becomes ``<unk>``.
        on_bad_record: ``"error"``: the first bad record ends the reading. ``"skip"``: bad records are left out and
            listed. ``"fix"``: gaps are removed and other unknown letters become X; what cannot be mended so (no
            residues, broken structure, no id) is left out and listed.
        on_duplicate_id: ``"error"``; ``"skip"``: later records of an id are left out and listed; ``"number"``: they
            become ``id_2``, ``id_3``; None: what `on_bad_record` suggests.
    """

    on_illegal: IllegalPolicy = "error"
    on_bad_record: BadRecordPolicy = "error"
    on_duplicate_id: DuplicatePolicy | None = None

    @property
    def duplicates(self) -> DuplicatePolicy:
        """The policy for ids that occur twice."""
        suggested: dict[BadRecordPolicy, DuplicatePolicy] = {"error": "error", "skip": "skip", "fix": "number"}
        return self.on_duplicate_id or suggested[self.on_bad_record]


class RejectedRecord(NamedTuple):
    """One record that was left out: a row of ``rejected.tsv``."""

    file: str
    record: int
    """From 1 in each file."""

    line: int
    """Of its header in the (decompressed) file, from 1; 0: not known."""

    id: str
    reason: str

    def __str__(self) -> str:
        """Return one line for messages."""
        return f"record {self.record} ({self.id!r}) of {self.file}: {self.reason.rstrip('.')}"


class RejectedFile:
    """Writer of ``rejected.tsv``: one row for each record that was left out; no file where there is none.

    Args:
        path: Where to write.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file: IO[str] | None = None
        self.first: RejectedRecord | None = None

    def __call__(self, record: RejectedRecord) -> None:
        """Append one row."""
        if self._file is None:
            self.first = record
            self._file = self._path.open("w", encoding="utf-8")
            self._file.write("\t".join(RejectedRecord._fields) + "\n")
        self._file.write("\t".join(" ".join(str(value).split()) for value in record) + "\n")

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


@dataclass(kw_only=True)
class FastaSummary:
    """Counts of what the files held and of what was changed while reading them."""

    num_sequences: int = 0
    num_residues: int = 0
    num_lower_case_residues: int = 0
    num_stops_removed: int = 0
    num_unknown_residues: int = 0
    num_records_rejected: int = 0
    num_records_fixed: int = 0
    num_ids_numbered: int = 0
    num_nucleotide_sequences: int = 0
    """Sequences of 20 and more letters whose first 60 are all A, C, G, T, U or N."""

    def to_dict(self) -> dict[str, int]:
        """Return the counts as plain values."""
        return asdict(self)

    def log(self, path: str | os.PathLike[str]) -> None:
        """Log the counts; what was changed and what looks wrong comes as a warning."""
        logger.info("%s: %d sequences, %d residues", path, self.num_sequences, self.num_residues)
        if self.num_lower_case_residues:
            logger.warning("%s: %d lower-case residues were read as residues", path, self.num_lower_case_residues)
        if self.num_stops_removed:
            logger.warning("%s: a final '*' was removed from %d sequences", path, self.num_stops_removed)
        if self.num_unknown_residues:
            logger.warning("%s: %d illegal characters were read as <unk>", path, self.num_unknown_residues)
        if self.num_records_fixed:
            logger.warning(
                "%s: %d records were fixed (gaps removed, unknown letters read as X)", path, self.num_records_fixed
            )
        if self.num_ids_numbered:
            logger.warning("%s: %d records with an id used before were numbered", path, self.num_ids_numbered)
        if self.num_nucleotide_sequences >= max(1, _NUCLEOTIDE_SHARE * self.num_sequences):
            logger.warning(
                "%s: %d of %d sequences (%.0f %%) begin with letters of nucleotides only (A, C, G, T, U, N). ESM-2 "
                "reads proteins: translate them first, unless these are proteins",
                path,
                self.num_nucleotide_sequences,
                self.num_sequences,
                100 * self.num_nucleotide_sequences / self.num_sequences,
            )
