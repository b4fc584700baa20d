# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets in the forms that people have: tables, told apart by their columns, and folders of structures."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from bionemo.core.errors import DataError, MissingFileError
from bionemo.core.randomness import Stream, rng_for
from bionemo.esm2.contacts.structure import STRUCTURE_SUFFIXES, StructureContacts, first_chain
from bionemo.esm2.data.fasta_policy import FastaSummary
from bionemo.esm2.data.fasta_records import encode_sequence
from bionemo.esm2.embedding.protein_file import ProteinFile


logger = logging.getLogger(__name__)

T = TypeVar("T")
Kind = Literal["residue classes", "variants", "values", "contacts"]

STATE_COLUMNS = ("secondary_structure", "3state", "ss3", "8state", "ss8", "dssp")
SCORE_COLUMNS = ("DMS_score", "score", "fitness")
SEQUENCE_COLUMNS = ("mutated_sequence", "sequence", "sequences")
TARGET_COLUMNS, SET_COLUMN, VALIDATION_COLUMN = ("target", "TARGET"), "set", "validation"
SUFFIXES = (
    *(f"{kind}{packed}" for kind in (".csv", ".tsv") for packed in ("", ".gz", ".bz2", ".xz")),
    ".parquet",
)


@dataclass(frozen=True)
class Dataset:
    """One data set in memory.

    Attributes:
        name: Of its file, without ending.
        path: The file.
        kind: What its labels are.
        sequences: P times token ids, a byte for each residue.
        labels: P cells of the label column; none of contacts.
        splits: P cells of the column that says what is trained on; None: there is none.
        mutants: P variants as text; None for other kinds.
        structures: P times the contacts of a structure; none for other kinds.
    """

    name: str
    path: Path
    kind: Kind
    sequences: list[bytes]
    labels: list[str]
    splits: list[str] | None = None
    mutants: list[str] | None = None
    structures: list[StructureContacts] = field(default_factory=list)


def find_datasets(paths: Sequence[Path], *, max_proteins: int, seed: int) -> list[Dataset]:
    """Read all data sets of files and folders; files of other forms are logged and left out.

    Raises:
        MissingFileError: There is no such path.
        DataError: None of the files is a data set of a known form.
    """
    found = []
    for path in paths:
        if not path.exists():
            raise MissingFileError(f"--data-path {path}: there is no such file or folder.")
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.name.lower().endswith(SUFFIXES):
                dataset = read_dataset(file, max_proteins=max_proteins, seed=seed)
                if dataset is not None:
                    found.append(dataset)
        structures = [file for file in files if file.name.removesuffix(".gz").endswith(STRUCTURE_SUFFIXES)]
        if structures:
            found.append(read_structures(path, drawn(structures, max_proteins, seed)))
    if not found:
        raise DataError(
            f"{', '.join(map(str, paths))}: no data set of a known form: a table with sequences and "
            f"{STATE_COLUMNS[0]}, or mutant and {SCORE_COLUMNS[0]}, or {TARGET_COLUMNS[0]} and {SET_COLUMN}; or PDB "
            "or mmCIF files."
        )
    return found


def read_dataset(path: Path, *, max_proteins: int, seed: int) -> Dataset | None:
    """Read a table; None where its columns are of no known form."""
    columns = columns_of(path)
    sequence = first_of(SEQUENCE_COLUMNS, columns)
    score, target, state = (first_of(names, columns) for names in (SCORE_COLUMNS, TARGET_COLUMNS, STATE_COLUMNS))
    more: dict[str, str] = {}
    if sequence is None:
        kind: Kind | None = None
    elif "mutant" in columns and score is not None:
        kind, more = "variants", {"labels": score, "mutants": "mutant"}
    elif target is not None and SET_COLUMN in columns:
        kind, more = "values", {"labels": target, "splits": SET_COLUMN}
        if VALIDATION_COLUMN in columns:
            more["validation"] = VALIDATION_COLUMN
    elif state is not None:
        kind, more = "residue classes", {"labels": state}
        if SET_COLUMN in columns:
            more["splits"] = SET_COLUMN
    else:
        kind = None
    if kind is None or sequence is None:
        logger.info("%s: no data set of a known form, left out (columns %s)", path, ", ".join(columns))
        return None
    source = ProteinFile(path=path, sequence_column=sequence, on_bad_record="skip", more_columns=tuple(more.values()))
    summary = FastaSummary()
    rows = [
        protein for protein in source.proteins(summary) if all(cell not in (None, "") for cell in protein.cells[:1])
    ]
    rows = drawn(rows, max_proteins, seed)
    if not rows:
        raise DataError(f"{path}: has no usable row.")
    cells: Mapping[str, list[str]] = {
        name: [row.cells[place] or "" for row in rows] for place, name in enumerate(more)
    }
    splits = cells.get("splits")
    if splits is not None and "validation" in cells:
        splits = [
            "valid" if v.lower() in ("true", "1") else s for s, v in zip(splits, cells["validation"], strict=True)
        ]
    name = path.name.partition(".")[0]
    return Dataset(name, path, kind, [row.residues for row in rows], cells["labels"], splits, cells.get("mutants"))


def read_structures(path: Path, files: Sequence[Path]) -> Dataset:
    """Read the first protein chain of each structure."""
    chains = [first_chain(file) for file in files]
    return Dataset(
        path.name.partition(".")[0],
        path,
        "contacts",
        [encode_sequence(file, text) for file, (text, _) in zip(files, chains, strict=True)],
        [],
        structures=[contacts for _, contacts in chains],
    )


def drawn(items: Sequence[T], max_items: int, seed: int) -> list[T]:
    """Draw so many of some items at random, in their order; all where there are fewer."""
    if len(items) <= max_items:
        return list(items)
    chosen = np.sort(rng_for(seed, Stream.SPLIT).permutation(len(items))[:max_items])
    return [items[number] for number in chosen]


def columns_of(path: Path) -> list[str]:
    """Return the names of a table's columns."""
    if path.name.lower().endswith(".parquet"):
        import pyarrow.parquet as pq

        return list(pq.read_schema(path).names)
    import csv

    from bionemo.esm2.embedding.protein_file import lines_of

    return next(csv.reader(lines_of(path), delimiter="\t" if ".tsv" in path.name.lower() else ","), [])


def first_of(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """Return the first of some names that a table has."""
    return next((name for name in names if name in columns), None)
