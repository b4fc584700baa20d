# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The table that ``predict_esm2`` writes.

``predictions.parquet`` has a line for each protein, in input order: ``row`` int64, its place in the input from 0;
``id``; ``length`` int64, residues; and for each target ``<column>``. Sequences: a float32, a class as text, or a list
of classes; ``<column>_probability`` is that of the class. Residues: a list of float32, or of classes as one text where
each is a character, else a list of texts. With probabilities also ``<column>_probabilities``: [C] float32, for
residues a flat list of S times C.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bionemo.esm2.finetuning.head_config import Level, Target
from bionemo.esm2.finetuning.predictor import TargetPrediction


if TYPE_CHECKING:
    import pyarrow as pa

    from bionemo.esm2.embedding.protein_file import Protein


PREDICTIONS_NAME = "predictions.parquet"


def has_letters(target: Target) -> bool:
    """Whether every class is one character, so that the classes of residues make one text."""
    return all(len(name) == 1 for name in target.classes)


def residue_text(prediction: TargetPrediction, rows: slice) -> str:
    """Return the predictions of a protein's residues as one text: characters, or words."""
    target, values = prediction.target, prediction.values[rows]
    if target.kind == "regression":
        return " ".join(f"{value:.6g}" for value in values)
    names = [target.classes[number] for number in values]
    return ("" if has_letters(target) else " ").join(names)


def write_predictions(
    predictions: Sequence[TargetPrediction],
    proteins: "Sequence[Protein]",
    level: Level,
    path: Path,
    *,
    probabilities: bool,
) -> None:
    """Write the predictions of some proteins.

    Args:
        predictions: Of each target, for the proteins or all of their residues.
        proteins: In input order.
        level: What is labeled.
        path: Parquet file.
        probabilities: Whether to write the probability of every class.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    lengths = np.array([len(protein.residues) for protein in proteins], np.int64)
    columns: dict[str, pa.Array] = {
        "row": pa.array([protein.row for protein in proteins], pa.int64()),
        "id": pa.array([protein.id for protein in proteins], pa.string()),
        "length": pa.array(lengths),
    }
    for prediction in predictions:
        add = residue_columns if level == "residue" else sequence_columns
        columns |= add(prediction, lengths, probabilities=probabilities)
    pq.write_table(pa.table(columns), path)


def sequence_columns(
    prediction: TargetPrediction, lengths: NDArray[np.int64], *, probabilities: bool
) -> "dict[str, pa.Array]":
    """Return the columns of one target of sequences."""
    import pyarrow as pa

    target, values, shares = prediction
    if shares is None:
        return {target.column: pa.array(values)}
    columns: dict[str, Any] = {}
    if target.kind == "multilabel":
        chosen = [[name for name, has in zip(target.classes, row, strict=True) if has] for row in values]
        columns[target.column] = pa.array(chosen, pa.list_(pa.string()))
    else:
        columns[target.column] = pa.array([target.classes[number] for number in values], pa.string())
        columns[f"{target.column}_probability"] = pa.array(shares[np.arange(len(values)), values])
    if probabilities:
        columns[f"{target.column}_probabilities"] = pa.FixedSizeListArray.from_arrays(
            pa.array(shares.reshape(-1)), len(target.classes)
        )
    return columns


def residue_columns(
    prediction: TargetPrediction, lengths: NDArray[np.int64], *, probabilities: bool
) -> "dict[str, pa.Array]":
    """Return the columns of one target of residues."""
    import pyarrow as pa

    target, values, shares = prediction
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if shares is None:
        return {target.column: pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))}
    columns: dict[str, Any] = {}
    if has_letters(target):
        rows = [slice(first, last) for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
        columns[target.column] = pa.array([residue_text(prediction, row) for row in rows], pa.string())
    else:
        names = pa.array([target.classes[number] for number in values], pa.string())
        columns[target.column] = pa.LargeListArray.from_arrays(pa.array(offsets), names)
    if probabilities:
        flat = pa.array(shares.reshape(-1))
        columns[f"{target.column}_probabilities"] = pa.LargeListArray.from_arrays(
            pa.array(offsets * len(target.classes)), flat
        )
    return columns
