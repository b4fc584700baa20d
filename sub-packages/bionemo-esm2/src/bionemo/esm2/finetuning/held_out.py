# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves of its held-out proteins: predictions, scores and pictures.

Letters: P held-out proteins, X their labels (of them or of their residues), L columns of labels, C classes.
"""

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.core.files import write_json, write_text
from bionemo.esm2.finetuning.examples import Examples
from bionemo.esm2.finetuning.head_layout import load_finetuned
from bionemo.esm2.finetuning.pictures import draw_pictures
from bionemo.esm2.finetuning.predictor import HeadPredictor, TargetPrediction, decode
from bionemo.esm2.finetuning.results import residue_text
from bionemo.esm2.finetuning.scores import target_scores
from bionemo.esm2.finetuning.splits import Split


logger = logging.getLogger(__name__)

PREDICTIONS_NAME, SCORES_NAME = "predictions.csv", "scores.json"
PROTEINS_PER_PART = 1024


@dataclass(frozen=True)
class HeldOut:
    """Predictions of held-out proteins.

    Attributes:
        proteins: [P] int64, their numbers among the examples.
        predictions: For each target values of X rows.
    """

    proteins: NDArray[np.int64]
    predictions: tuple[TargetPrediction, ...]

    @classmethod
    def nothing(cls) -> "HeldOut":
        """Return what other ranks than the first have."""
        return cls(np.zeros(0, np.int64), ())

    @classmethod
    def joined(cls, parts: Sequence["HeldOut"]) -> "HeldOut":
        """Put the predictions of several models one after the other."""
        joined = []
        for same in zip(*(part.predictions for part in parts), strict=True):
            probabilities = [prediction.probabilities for prediction in same if prediction.probabilities is not None]
            joined.append(
                TargetPrediction(
                    same[0].target,
                    np.concatenate([prediction.values for prediction in same]),
                    np.concatenate(probabilities) if probabilities else None,
                )
            )
        return cls(np.concatenate([part.proteins for part in parts]), tuple(joined))


def predict_held_out(
    examples: Examples,
    checkpoint: Path,
    split: Split,
    *,
    device: torch.device,
    precision: str,
    max_batches: int | None = None,
) -> HeldOut:
    """Predict the held-out proteins of a split with a checkpoint.

    Args:
        examples: All labeled proteins.
        checkpoint: Of a fine-tuned model.
        split: Test proteins are predicted, or the validation ones where there are none.
        device: Where to compute.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        max_batches: Parts of 1,024 proteins that are predicted at most; None: all.
    """
    module = load_finetuned(checkpoint).to(device)
    predictor = HeadPredictor(module, precision=precision)
    proteins = split.held_out
    if max_batches is not None:
        proteins = proteins[: max_batches * PROTEINS_PER_PART]
    outputs = [
        predictor.outputs([examples.proteins.residues(number) for number in part.tolist()])
        for part in np.split(proteins, np.arange(PROTEINS_PER_PART, len(proteins), PROTEINS_PER_PART))
    ]
    return HeldOut(proteins, tuple(decode(np.concatenate(outputs), module.head_config)))


def write_held_out(folder: Path, examples: Examples, held_out: HeldOut) -> dict[str, Any]:
    """Write ``predictions.csv``, ``scores.json`` and pictures, and return the scores."""
    rows = examples.proteins.label_rows(held_out.proteins, examples.head.level)
    labels_XL = examples.labels[rows]
    scores: dict[str, Any] = {"num_proteins": len(held_out.proteins)}
    first = 0
    for prediction in held_out.predictions:
        columns = labels_XL[:, first : first + prediction.target.num_values]
        first += prediction.target.num_values
        scores[prediction.target.column] = target_scores(prediction, columns)
        several = len(held_out.predictions) > 1
        draw_pictures(folder, prediction, columns, suffix=f"-{prediction.target.column}" if several else "")
    write_text(folder / PREDICTIONS_NAME, predictions_table(examples, held_out, labels_XL))
    write_json(folder / SCORES_NAME, scores)
    logger.info("held out: %s", scores)
    return scores


def predictions_table(examples: Examples, held_out: HeldOut, labels_XL: NDArray[np.float32]) -> str:
    """Return a table with a row for each held-out protein: id, row of its file, and each target's prediction.

    Sequences have the label as it was given and the prediction; residues the predictions, one character each where
    classes are characters, else words.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    is_residue = examples.head.level == "residue"
    columns = [
        name
        for prediction in held_out.predictions
        for name in ([] if is_residue else [prediction.target.column]) + [f"{prediction.target.column}_predicted"]
    ]
    writer.writerow(["id", "row", *columns])
    start = 0
    for place, protein in enumerate(held_out.proteins.tolist()):
        end = start + (int(examples.proteins.lengths[protein]) if is_residue else 1)
        cells: list[Any] = []
        first = 0
        for prediction in held_out.predictions:
            if is_residue:
                cells.append(residue_text(prediction, slice(start, end)))
            else:
                labels = labels_XL[place, first : first + prediction.target.num_values]
                cells += [label_text(prediction, labels), value_text(prediction, place)]
            first += prediction.target.num_values
        writer.writerow([examples.proteins.ids[protein], int(examples.proteins.rows[protein]), *cells])
        start = end
    return text.getvalue()


def label_text(prediction: TargetPrediction, labels: NDArray[np.float32]) -> Any:
    """Return the label of a sequence as its cell had it."""
    target = prediction.target
    if np.isnan(labels[0]):
        return ""
    if target.kind == "regression":
        return float(labels[0])
    if target.kind == "classification":
        return target.classes[int(labels[0])]
    return ";".join(name for name, has in zip(target.classes, labels, strict=True) if has) or ";"


def value_text(prediction: TargetPrediction, place: int) -> Any:
    """Return the prediction for a sequence in the form of a label."""
    target, value = prediction.target, prediction.values[place]
    if target.kind == "regression":
        return float(value)
    if target.kind == "classification":
        return target.classes[int(value)]
    return ";".join(name for name, has in zip(target.classes, value, strict=True) if has) or ";"
