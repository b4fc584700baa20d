# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Labeled proteins of a table: read, checked row by row, and turned to numbers.

Letters: P proteins, R residues of all of them, L columns of labels.
"""

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError
from bionemo.core.files import write_text
from bionemo.esm2.data.fasta_policy import BadRecordPolicy, FastaSummary, RejectedRecord
from bionemo.esm2.embedding.protein_file import Protein, ProteinFile
from bionemo.esm2.finetuning.head_config import HeadConfig, Level, Target, TargetKind
from bionemo.esm2.finetuning.labels import classes_of, label_matrix, parse_cell, parse_mask, unseen_class


logger = logging.getLogger(__name__)

REJECTED_NAME = "rejected.csv"


@dataclass(frozen=True, kw_only=True)
class LabeledTable:
    """How labeled proteins are read.

    Attributes:
        source: The file, and its columns of sequences and ids.
        level: Whether sequences or residues are labeled.
        columns: Label columns.
        kinds: Of each of them.
        mask_column: Column that says which residues are labeled; None: those that have a label.
        split_column: A further column that is kept as text, or None.
        max_residues: Longest sequence; None: any.
        skip_bad_rows: Leave bad rows out instead of stopping at the first.
    """

    source: ProteinFile
    level: Level
    columns: tuple[str, ...]
    kinds: tuple[TargetKind, ...]
    mask_column: str | None = None
    split_column: str | None = None
    max_residues: int | None = None
    skip_bad_rows: bool = False


class RejectedRow(NamedTuple):
    """A row that was left out: a line of ``rejected.csv``."""

    file: str
    row: int
    """From 1, the header not counted."""
    id: str
    reason: str


@dataclass
class LabeledProteins:
    """Proteins in input order with their labels.

    Attributes:
        path: The file.
        ids: P ids.
        rows: [P] int64, place of each in the file, from 0.
        tokens: [R] uint8, residues of all proteins without special tokens.
        offsets: [P + 1] int64, where each protein begins in `tokens`.
        labels: For each label column P labels, or R labels of residues, as `parse_cell` gives them.
        split: P cells of the split column, or empty.
        rejected: Rows that were left out.
    """

    path: Path
    ids: list[str] = field(default_factory=list)
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    tokens: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    labels: list[list[Any]] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of proteins."""
        return len(self.ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[P] int64, residues of each protein."""
        return np.diff(self.offsets)

    def residues(self, protein: int) -> bytes:
        """Token ids of one protein, a byte each."""
        return self.tokens[self.offsets[protein] : self.offsets[protein + 1]].tobytes()

    def label_rows(self, proteins: NDArray[np.int64], level: Level) -> NDArray[np.int64]:
        """Rows of the label matrix that belong to proteins: themselves, or their residues."""
        if level == "sequence":
            return proteins
        parts = [np.arange(self.offsets[p], self.offsets[p + 1]) for p in proteins.tolist()]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def keep(self, proteins: NDArray[np.int64], level: Level) -> "LabeledProteins":
        """Return some of the proteins, in the order given."""
        rows = self.label_rows(proteins, level).tolist()
        residues = self.label_rows(proteins, "residue")
        return replace(
            self,
            ids=[self.ids[p] for p in proteins.tolist()],
            rows=self.rows[proteins],
            tokens=self.tokens[residues],
            offsets=np.concatenate([[0], np.cumsum(self.lengths[proteins])]),
            labels=[[column[row] for row in rows] for column in self.labels],
            split=[self.split[p] for p in proteins.tolist()] if self.split else [],
        )


def read_labeled(table: LabeledTable, *, known: Sequence[Target] | None = None) -> LabeledProteins:
    """Read labeled proteins.

    Args:
        table: What to read.
        known: Targets of the training data, whose classes these labels must have; None: any class.

    Raises:
        FormatError: The file lacks a column.
        DataError: A row is bad (sequence or label) and bad rows are not skipped, or no row is left.
    """
    found = LabeledProteins(table.source.path)
    more = (*table.columns, *(name for name in (table.mask_column, table.split_column) if name is not None))
    policy: BadRecordPolicy = "skip" if table.skip_bad_rows else "error"
    source = replace(table.source, more_columns=more, on_bad_record=policy)
    if source.kind == ".fasta":
        raise ConfigError(f"{source.path}: labels are columns of a .csv, .tsv or .parquet file.")
    source.files()

    def reject(record: RejectedRecord) -> None:
        found.rejected.append(RejectedRow(record.file, record.record, record.id, record.reason))

    found.labels = [[] for _ in table.columns]
    rows, residues = [], []
    for protein in source.proteins(FastaSummary(), reject):
        try:
            labels = labels_of(protein, table, known)
        except DataError as error:
            message = f"row {protein.row + 1} ({protein.id}): {error}"
            if not table.skip_bad_rows:
                raise DataError(f"{source.path}: {message}. Correct it, or give --on-bad-row skip.") from error
            found.rejected.append(RejectedRow(str(source.path), protein.row + 1, protein.id, str(error)))
            continue
        for column, values in zip(found.labels, labels, strict=True):
            column.extend(values)
        found.ids.append(protein.id)
        if table.split_column is not None:
            found.split.append((protein.cells[-1] or "").strip())
        rows.append(protein.row)
        residues.append(protein.residues)
    if not rows:
        raise DataError(f"{source.path}: has no usable row; {len(found.rejected)} were left out.")
    found.rows = np.array(rows, np.int64)
    found.tokens = np.frombuffer(b"".join(residues), np.uint8)
    found.offsets = np.concatenate([[0], np.cumsum([len(part) for part in residues])]).astype(np.int64)
    for name, column in zip(table.columns, found.labels, strict=True):
        if all(label is None for label in column):
            raise DataError(f"{source.path}: column {name} holds no labels. Name another --label-column.")
    if found.rejected:
        logger.warning("%s: %d rows were left out, see %s", source.path, len(found.rejected), REJECTED_NAME)
    return found


def labels_of(protein: Protein, table: LabeledTable, known: Sequence[Target] | None) -> list[list[Any]]:
    """Return the labels of one protein, for each column a list of one label or of one for each residue.

    Raises:
        DataError: A label is bad; the message names the column.
    """
    length = len(protein.residues)
    if table.max_residues is not None and length > table.max_residues:
        raise DataError(f"{length} residues, more than --max-seq-length {table.max_residues + 2} holds")
    labels = []
    for place, (name, kind) in enumerate(zip(table.columns, table.kinds, strict=True)):
        try:
            values = parse_cell(protein.cells[place], kind, table.level, length)
        except DataError as error:
            raise DataError(f"column {name}: {error}") from error
        if known is not None and (unseen := unseen_class(values, known[place])) is not None:
            raise DataError(f"column {name}: the class {unseen!r}, which the training data lack")
        labels.append(values)
    if table.mask_column is not None:
        try:
            mask = parse_mask(protein.cells[len(table.columns)], length)
        except DataError as error:
            raise DataError(f"column {table.mask_column}: {error}") from error
        labels = [[value if used else None for value, used in zip(v, mask, strict=True)] for v in labels]
    return labels


def build_targets(
    proteins: LabeledProteins, table: LabeledTable, *, max_classes: int | None = None
) -> tuple[Target, ...]:
    """Describe the targets of the training data.

    Args:
        proteins: All that are labeled.
        table: How they were read.
        max_classes: Outputs that the head was given; None: as many as there are classes.

    Raises:
        DataError: There are more classes than outputs, or fewer than two.
    """
    targets = []
    for name, kind, labels in zip(table.columns, table.kinds, proteins.labels, strict=True):
        classes = () if kind == "regression" else classes_of(labels, kind)
        if kind == "classification" and len(classes) < 2:
            raise DataError(f"{proteins.path}: column {name} holds the class {classes[0]!r} alone, expected two.")
        if max_classes is not None and kind != "regression":
            if len(classes) > max_classes:
                raise DataError(
                    f"{proteins.path}: column {name} has {len(classes)} classes ({', '.join(classes[:10])}), more "
                    f"than the head's {max_classes} outputs. Raise --cnn-num-classes or --mlp-target-size, or leave "
                    "it out."
                )
            classes += tuple(f"unused_{number}" for number in range(len(classes), max_classes))
        targets.append(Target(column=name, kind=kind, classes=classes))
    return tuple(targets)


def standardized_targets(
    targets: Sequence[Target], labels_RL: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[Target, ...]:
    """Set mean and standard deviation of regressions to those of the training rows."""
    found, column = [], 0
    for target in targets:
        if target.kind == "regression":
            values = labels_RL[rows, column].astype(np.float64)
            values = values[np.isfinite(values)]
            if len(values) == 0:
                raise DataError(f"column {target.column}: the training split has no labels.")
            target = replace(target, mean=float(values.mean()), std=float(values.std()) or 1.0)
        found.append(target)
        column += target.num_values
    return tuple(found)


def matrix_of(proteins: LabeledProteins, head: HeadConfig) -> NDArray[np.float32]:
    """Return the labels of all proteins as numbers, [P or R, L]."""
    return label_matrix(proteins.labels, head.targets)


def write_rejected(path: Path, rows: Sequence[RejectedRow]) -> None:
    """Write ``rejected.csv``; no file where no row was left out."""
    if not rows:
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RejectedRow._fields)
    writer.writerows(rows)
    write_text(path, text.getvalue())
