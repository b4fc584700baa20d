# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible preparation of FLIP benchmark files (Dallago et al. 2021): FASTA to CSV for each split.

Records look like ``>Seq0 SET=train VALIDATION=False TARGET=1.5``; nothing is downloaded, the files are given.
"""

import csv
import io
import os
import re
from pathlib import Path
from typing import NamedTuple

from bionemo.core.errors import DataError, MissingFileError
from bionemo.core.files import write_text


__all__ = ["FLIPPreprocess"]

LABEL_NAMES = {
    "secondary_structure": "3state",
    "scl": "scl_label",
    "conservation": "conservation",
}
"""Label column of a task; ``target`` for the others."""
TASKS = ("aav", "bind", "conservation", "gb1", "meltome", "sav", "scl", "secondary_structure")
_FIELD = re.compile(r"(\w+)=(\S+)")


class FLIPRecord(NamedTuple):
    """One record of a FLIP file."""

    id: str
    sequence: str
    split: str
    """train, val or test."""
    target: str


class FLIPPreprocess:
    """Writes ``<output_dir>/<split>/x000.csv`` for the splits train, val and test.

    Args:
        root_directory: Where ``prepare_dataset`` writes unless it is told.
    """

    def __init__(self, root_directory: str | os.PathLike[str] = ".") -> None:
        self.root_directory = Path(root_directory)

    def prepare_dataset(
        self,
        task: str,
        sequences_path: str | os.PathLike[str],
        labels_path: str | os.PathLike[str] | None = None,
        resolved_path: str | os.PathLike[str] | None = None,
        output_dir: str | os.PathLike[str] | None = None,
    ) -> Path:
        """Write the CSV files of one task.

        Args:
            task: One of ``TASKS``.
            sequences_path: FASTA with the fields SET, VALIDATION and, unless labels are given, TARGET.
            labels_path: FASTA of residues' labels, whose headers then have the fields; None: TARGET.
            resolved_path: FASTA of 0 and 1 for each residue: which of them are labeled; None: all.
            output_dir: Where to; None: a folder of the task's name below the root directory.

        Returns:
            The folder written.

        Raises:
            DataError: The task is unknown, or a record lacks a field.
            MissingFileError: There is no such file.
        """
        if task not in TASKS:
            raise DataError(f"{task}: expected one of {', '.join(TASKS)}.")
        folder = Path(output_dir) if output_dir is not None else self.root_directory / task
        sequences = read_fasta(Path(sequences_path))
        labels = read_fasta(Path(labels_path)) if labels_path is not None else None
        resolved = read_fasta(Path(resolved_path)) if resolved_path is not None else None
        tables: dict[str, list[list[str]]] = {"train": [], "val": [], "test": []}
        for name, (header, sequence) in sequences.items():
            described, target = (header, None) if labels is None else labels[name]
            record = flip_record(name, sequence, described, target, str(sequences_path))
            extra = [] if resolved is None else [resolved[name][1]]
            tables[record.split].append([name, sequence, record.target, *extra])
        columns = ["id", "sequence", LABEL_NAMES.get(task, "target"), *([] if resolved is None else ["resolved"])]
        for split, rows in tables.items():
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
            write_text(folder / split / "x000.csv", text.getvalue())
        return folder


def flip_record(name: str, sequence: str, header: str, target: str | None, source: str) -> FLIPRecord:
    """Read the fields of a header.

    Raises:
        DataError: One is missing.
    """
    fields = dict(_FIELD.findall(header))
    target = fields.get("TARGET") if target is None else target
    if "SET" not in fields or target is None:
        raise DataError(f"{source}: record {name!r} lacks SET or TARGET in {header!r}.")
    split = "val" if fields["SET"] == "train" and fields.get("VALIDATION") == "True" else fields["SET"]
    if split not in ("train", "val", "test"):
        raise DataError(f"{source}: record {name!r} has SET={fields['SET']}, expected train or test.")
    return FLIPRecord(name, sequence, split, target)


def read_fasta(path: Path) -> dict[str, tuple[str, str]]:
    """Read a small FASTA file of any letters: id to header and text.

    Raises:
        MissingFileError: There is no such file.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file. Download it from the FLIP repository first.")
    found: dict[str, tuple[str, str]] = {}
    for record in path.read_text(encoding="utf-8").split(">")[1:]:
        header, _, body = record.partition("\n")
        found[header.split()[0]] = (header, "".join(body.split()))
    return found
