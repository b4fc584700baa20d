# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""From the cells of label columns to numbers.

All labels of a data set are one float32 matrix with a row for each sequence, or for each residue of all sequences,
and a column for each target: the value of a regression or the number of a class. A multi-label target has a column of
0 and 1 for each class. Not a number means not labeled.

Letters: P sequences, R residues of all of them, L columns of labels.
"""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.esm2.finetuning.head_config import Level, Target, TargetKind
from bionemo.llm.data.splits import MISSING


LABEL_SEPARATOR = ";"
"""Between the classes of a multi-label cell; alone it means that no class applies."""


def parse_cell(cell: str | None, kind: TargetKind, level: Level, length: int) -> list[Any]:
    """Read one cell of a label column.

    Args:
        cell: Text, or None.
        kind: Of the target.
        level: Whether the cell labels a sequence or each of its residues.
        length: Residues of the sequence.

    Returns:
        One label, or one for each residue: a float, a class, a tuple of classes (multilabel), or None.

    Raises:
        DataError: A value is no number, or there is another number of labels than residues.

    >>> parse_cell("HHE", "classification", "residue", 3)
    ['H', 'H', 'E']
    >>> parse_cell("0.5 nan 1", "regression", "residue", 3)
    [0.5, None, 1.0]
    >>> parse_cell("nucleus;membrane", "multilabel", "sequence", 3)
    [('nucleus', 'membrane')]
    """
    text = "" if cell is None else cell
    if level == "sequence":
        parts: Sequence[str] = [text.strip()]
    elif text.strip() in MISSING and length != len(text):
        parts = [""] * length
    else:
        parts = split_residue_labels(text, kind)
        if len(parts) != length:
            raise DataError(f"{len(parts)} labels for {length} residues")
    return [parse_label(part, kind) for part in parts]


def split_residue_labels(text: str, kind: TargetKind) -> Sequence[str]:
    """Cut a cell into the labels of residues: a JSON list, words, or for classes one character each."""
    stripped = text.strip()
    if stripped.startswith("[") and stripped.endswith("]"):
        try:
            return ["" if value is None else str(value) for value in json.loads(stripped)]
        except json.JSONDecodeError as error:
            raise DataError(f"begins with '[' but is no JSON list ({error.msg})") from error
    words = stripped.replace(",", " ").split() if kind == "regression" else stripped.split()
    if kind == "regression" or len(words) > 1:
        return words
    return text


def parse_label(text: str, kind: TargetKind) -> Any:
    """Read one label; None where there is none.

    Raises:
        DataError: It should be a number and is none.
    """
    if text in MISSING:
        return None
    if kind == "regression":
        try:
            value = float(text)
        except ValueError:
            raise DataError(f"the value {text!r} is no number") from None
        if math.isinf(value):
            raise DataError(f"the value {text!r} is not finite")
        return None if math.isnan(value) else value
    if kind == "multilabel":
        return tuple(name.strip() for name in text.split(LABEL_SEPARATOR) if name.strip())
    return text


def parse_mask(cell: str | None, length: int) -> list[bool]:
    """Read a cell of the mask column: 1 for residues that are labeled, 0 for others.

    Raises:
        DataError: It has another length than the sequence, or other characters.

    >>> parse_mask("0110", 4)
    [False, True, True, False]
    """
    text = "".join((cell or "").replace(",", " ").strip("[] ").split())
    if len(text) != length:
        raise DataError(f"a mask of {len(text)} for {length} residues")
    if set(text) - {"0", "1"}:
        raise DataError(f"a mask holds {min(set(text) - {'0', '1'})!r}, expected 0 and 1")
    return [character == "1" for character in text]


def classes_of(labels: Iterable[Any], kind: TargetKind) -> tuple[str, ...]:
    """Return the classes among labels in alphabetical order; numbers in numerical order."""
    found: set[str] = set()
    for label in labels:
        if label is not None:
            found.update(label if kind == "multilabel" else (label,))
    try:
        return tuple(sorted(found, key=lambda name: (float(name), name)))
    except ValueError:
        return tuple(sorted(found))


def unseen_class(labels: Iterable[Any], target: Target) -> str | None:
    """Return a class among labels that a target lacks; None where there is none."""
    if target.kind == "regression":
        return None
    known = set(target.classes)
    for label in labels:
        if label is not None:
            for name in label if target.kind == "multilabel" else (label,):
                if name not in known:
                    return str(name)
    return None


def label_matrix(labels: Sequence[Sequence[Any]], targets: Sequence[Target]) -> NDArray[np.float32]:
    """Return labels as numbers.

    Args:
        labels: For each target its R or P labels.
        targets: What they are; their classes hold all of the labels.

    Returns:
        [R or P, L] float32.
    """
    columns: list[NDArray[np.float32]] = []
    for column, target in zip(labels, targets, strict=True):
        if target.kind == "regression":
            columns.append(np.array([np.nan if value is None else value for value in column], np.float32)[:, None])
            continue
        number = {name: idx for idx, name in enumerate(target.classes)}
        if target.kind == "classification":
            values = [np.nan if name is None else number[name] for name in column]
            columns.append(np.array(values, np.float32)[:, None])
            continue
        matrix = np.zeros((len(column), len(target.classes)), np.float32)
        for row, names in enumerate(column):
            if names is None:
                matrix[row] = np.nan
            else:
                matrix[row, [number[name] for name in names]] = 1.0
        columns.append(matrix)
    return np.concatenate(columns, axis=1)
