# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``metrics.csv`` of a run directory: one row per logged step, safe against kills, exact to the last bit.

The file has a header and one line per row. A cell is empty where nothing was measured at that step. Numbers are
written as Python writes them (``repr``), so that reading them gives back the same float64.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bionemo.core.errors import DataError, DataFileError, FormatError, MissingFileError
from bionemo.core.files import atomic_file


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


COLUMNS = (
    "step",
    "consumed_samples",
    "consumed_sequences",
    "consumed_tokens",
    "lr",
    "train_loss",
    "val_loss",
    "val_loss_masked",
    "val_ppl",
    "tokens_per_s",
)
"""``step`` counts optimizer steps done; losses are in nats per selected token; tokens are non-padding ones."""

_COUNTS = frozenset(COLUMNS[:4])


class MetricsCsv:
    """Appends rows to ``metrics.csv``. Only one process, the one of rank 0, may do so."""

    def __init__(self, path: str | os.PathLike[str], more_columns: Sequence[str] = ()) -> None:
        """Take a file to append to; it is made, with its header, by the first ``append``.

        Args:
            path: May exist, then it has to be whole. Its folder has to exist when the first row comes.
            more_columns: Columns behind ``COLUMNS``, such as the metrics of a fine-tuning run.

        Raises:
            FormatError: It exists and has another header, or its last line was torn by a kill.
        """
        self.path = Path(path)
        self.columns = (*COLUMNS, *more_columns)
        content = _content_or_nothing(self.path)
        if content:
            _check_header(self.path, content, self.columns)
            if not content.endswith(b"\n"):
                raise FormatError(
                    f"{self.path}: the last line is torn, a run was killed while writing it. "
                    "Resume that run (which mends the file) or write to another folder."
                )

    @classmethod
    def resume_from(cls, path: str | os.PathLike[str], step: int, more_columns: Sequence[str] = ()) -> MetricsCsv:
        """Resume from a checkpoint: rows after its step, and a torn last line, are removed by an atomic rewrite.

        Args:
            path: The file of the run that is resumed; where it is missing, a new one begins.
            step: Optimizer steps done when the checkpoint was saved. The rows kept are not touched by a byte.
            more_columns: As of the class.

        Raises:
            FormatError: The file has another header, or a line within it has no step.
        """
        path = Path(path)
        content = _content_or_nothing(path)
        kept = _rows_until(path, content, step, (*COLUMNS, *more_columns))
        if kept != content:
            with atomic_file(path) as file:
                file.write(kept)
        return cls(path, more_columns)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row in a single system call, so that it survives the process from here on.

        Args:
            row: ``step`` and any of the other columns. None and absent ones become empty cells. Values may be
                Python, numpy or one-element torch numbers.

        Raises:
            DataError: ``step`` is missing, or a name is not among the columns.
            DataFileError: The file cannot be written; nothing of the row is left in it.
        """
        unknown = sorted(set(row) - set(self.columns))
        if unknown:
            raise DataError(f"{self.path}: cannot log {unknown}, expected some of {list(self.columns)}.")
        if row.get("step") is None:
            raise DataError(f"{self.path}: a row has no 'step', only {sorted(row)}.")
        line = ",".join(_cell(name, row.get(name)) for name in self.columns) + "\n"
        try:
            self._write(line.encode())
        except OSError as error:
            raise DataFileError(
                f"{self.path}: cannot append to it: {error.strerror}. Free some space, or check the permissions."
            ) from error

    def _write(self, line: bytes) -> None:
        # Opened anew for each row: rows come seconds apart, no descriptor is shared with forked workers, and a file
        # that was replaced meanwhile (resume_from) is followed.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            data = line if size else _header_of(self.columns) + line
            try:
                written = os.write(descriptor, data)
                if written < len(data):  # the disk filled up in between: the rest tells why
                    os.write(descriptor, data[written:])
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)


def read_metrics(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a ``metrics.csv``, also one that a run is just writing: a line without its end is left out.

    Args:
        path: The file. Columns that this version does not know are read as well.

    Returns:
        Each column of the header as [R] float64 with NaN for empty cells, in the order of the file; ``step`` as [R]
        int64.

    Raises:
        MissingFileError: There is no such file.
        FormatError: There is no ``step`` column, or a line has another number of cells or one that is no number.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file, expected the metrics.csv of a run directory.")
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = text[: text.rfind("\n") + 1].splitlines()
    header, *rows = csv.reader(lines) if lines else [[]]
    if "step" not in header:
        raise FormatError(f"{path}: no column 'step', the first line is {lines[:1]}, expected {list(COLUMNS)}.")
    table = np.empty((len(rows), len(header)))
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise FormatError(f"{path} line {number}: {len(row)} cells, expected {len(header)} as in the header.")
        try:
            table[number - 2] = [float(cell) if cell else np.nan for cell in row]
        except ValueError as error:
            raise FormatError(f"{path} line {number}: {error}, expected numbers or empty cells.") from error
    columns: dict[str, np.ndarray] = {name: table[:, i].copy() for i, name in enumerate(header)}
    if np.isnan(columns["step"]).any():
        line = int(np.isnan(columns["step"]).argmax()) + 2
        raise FormatError(f"{path} line {line}: the cell 'step' is empty, expected a number of optimizer steps.")
    columns["step"] = columns["step"].astype(np.int64)
    return columns


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in _COUNTS:
        return str(int(value))
    return repr(float(value))


def _content_or_nothing(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataFileError(f"{path}: cannot be read: {error.strerror}.") from error


def _header_of(columns: Sequence[str]) -> bytes:
    return (",".join(columns) + "\n").encode()


def _check_header(path: Path, content: bytes, columns: Sequence[str]) -> None:
    header = content.split(b"\n", 1)[0]
    if header + b"\n" != _header_of(columns):
        found = header[:200].decode("utf-8", errors="replace")
        raise FormatError(f"{path}: the first line is {found!r}, expected {','.join(columns)!r}.")


def _rows_until(path: Path, content: bytes, step: int, columns: Sequence[str]) -> bytes:
    """The header and the whole lines whose step is not after ``step``; nothing if not even the header is whole."""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        if not _header_of(columns).startswith(content):
            _check_header(path, content, columns)
        return b""
    _check_header(path, whole, columns)
    header, *lines = whole.splitlines(keepends=True)
    kept = [header]
    for number, line in enumerate(lines, start=2):
        cell = line.split(b",", 1)[0]
        if not cell.isdigit():
            found = line[:80].decode("utf-8", errors="replace").strip()
            raise FormatError(f"{path} line {number}: {found!r} does not begin with a step.")
        if int(cell) <= step:
            kept.append(line)
    return b"".join(kept)
