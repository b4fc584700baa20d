# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Contacts that a model predicts against those of structures, beside pairs taken by their separation alone.

Letters: S residues of a protein.
"""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from bionemo.esm2.contacts.precision import FRACTIONS, RANGES, contact_precision
from bionemo.esm2.contacts.predictor import ContactPredictor
from bionemo.esm2.esm2 import ESM2
from bionemo.esm2.evaluation.datasets import Dataset
from bionemo.esm2.evaluation.figures import TaskResult, mean_score


BASELINE = "nearest in the sequence"
RANGE = "long"


def evaluate_contacts(dataset: Dataset, model: ESM2, *, seed: int) -> list[TaskResult]:
    """Compute the precision of the strongest L, L/2 and L/5 long-range contacts, as the mean over proteins."""
    predictor = ContactPredictor(model.module, precision=model.precision)
    name = f"contacts by {predictor.method}"
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for residues, structure in zip(dataset.sequences, dataset.structures, strict=True):
        for method, predicted in ((BASELINE, by_separation(len(residues))), (name, predictor.predict(residues))):
            for line in contact_precision(predicted, structure.contacts_SS, structure.is_resolved_S):
                if line.range == RANGE:
                    found[line.top, method].append(line.precision)
    task = f"contacts of residues {RANGES[RANGE][0]} and more apart, the strongest"
    return [
        TaskResult(
            dataset.name,
            f"{task} {top}",
            0,
            len(dataset.sequences),
            [
                mean_score(method, np.array(found[top, method]), "precision", is_model=method == name, seed=seed)
                for method in (BASELINE, name)
            ],
        )
        for top in FRACTIONS
    ]


def by_separation(length: int) -> NDArray[np.float32]:
    """Rank pairs by their separation alone, the nearest first, [S, S]: what is known without any model."""
    places = np.arange(length, dtype=np.float32)
    ranks: NDArray[np.float32] = -np.abs(places[:, None] - places)
    return ranks
