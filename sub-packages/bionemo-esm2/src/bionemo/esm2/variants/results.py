# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The folder that ``score_variants_esm2`` writes.

``scores.csv`` has a line for each variant, in input order: ``row``, its place in the input from 0; ``protein``;
``chain``, empty of single chains; ``mutant``, as it was written; ``protocol``, how it was scored; ``score``;
``measured``, empty where there is none. ``metrics.json`` holds Spearman, NDCG and AUC of each protein with intervals
of 95 %. ``rejected.csv`` lists the rows left out. ``PROTEIN.png`` and ``PROTEIN.html`` in ``heatmaps`` show single
substitutions.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from bionemo.esm2.variants.metrics import measure
from bionemo.esm2.variants.scoring import ScoredVariant
from bionemo.esm2.variants.variant_table import RejectedRow


SCORES_NAME, METRICS_NAME, REJECTED_NAME, HEATMAPS_DIR = "scores.csv", "metrics.json", "rejected.csv", "heatmaps"
COLUMNS = ("row", "protein", "chain", "mutant", "protocol", "score", "measured")


class ScoreRow(NamedTuple):
    """One line of ``scores.csv``."""

    row: int
    protein: str
    chain: str
    mutant: str
    protocol: str
    score: float
    measured: float | None


def score_row(scored: ScoredVariant) -> ScoreRow:
    """Return the line of a scored variant; scores have six decimals."""
    variant = scored.variant
    score = round(scored.score, 6) + 0.0  # no negative zero
    return ScoreRow(
        variant.row, variant.wild_type.id, variant.chain, variant.text, scored.protocol, score, variant.measured
    )


def write_scores(rows: Iterable[ScoreRow], file: IO[bytes]) -> None:
    """Write ``scores.csv`` to an open file."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow((*row[:5], f"{row.score:.6f}", "" if row.measured is None else repr(row.measured)))
    text.flush()
    text.detach()


def read_scores(path: Path) -> list[ScoreRow]:
    """Read ``scores.csv``.

    Args:
        path: The file.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return [
            ScoreRow(
                int(row["row"]), row["protein"], row["chain"], row["mutant"], row["protocol"], float(row["score"]),
                float(row["measured"]) if row["measured"] else None,
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


def write_rejected(rows: Sequence[RejectedRow], path: Path) -> None:
    """Write ``rejected.csv``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(RejectedRow._fields)
        writer.writerows(rows)


def metrics_of(
    rows: Sequence[ScoreRow], *, threshold: float | None, num_bootstraps: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Compute the metrics of each protein over its variants that have a measured value.

    Returns:
        Protein to ``num_variants``, ``protocols`` and, with ``value``, ``low`` and ``high``, ``spearman``, ``ndcg``
        and ``auc``; None where a metric is not defined. Proteins without two measured variants are left out.
    """
    by_protein: dict[str, list[ScoreRow]] = {}
    for row in rows:
        if row.measured is not None:
            by_protein.setdefault(row.protein, []).append(row)
    found: dict[str, dict[str, Any]] = {}
    for protein, measured_rows in by_protein.items():
        if len(measured_rows) < 2:
            continue
        estimates = measure(
            np.array([row.score for row in measured_rows]),
            np.array([row.measured for row in measured_rows]),
            threshold=threshold,
            num_bootstraps=num_bootstraps,
            seed=seed,
        )
        found[protein] = {
            "num_variants": len(measured_rows),
            "protocols": sorted({row.protocol for row in measured_rows}),
            **{
                name: {key: _finite(value) for key, value in each._asdict().items()}
                for name, each in estimates.items()
            },
        }
    return found


def summary_lines(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each protein, for the log."""
    return [
        f"{protein}, {found['num_variants']} measured variants: "
        + ", ".join(f"{name} {_text(found[name])}" for name in ("spearman", "ndcg", "auc"))
        for protein, found in metrics.items()
    ]


def metrics_json(metrics: Mapping[str, Any]) -> str:
    """Return ``metrics.json``."""
    return json.dumps(metrics, indent=2, ensure_ascii=False) + "\n"


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _text(estimate: Mapping[str, float | None]) -> str:
    if estimate["value"] is None:
        return "not defined"
    interval = "" if estimate["low"] is None else f" ({estimate['low']:.3f} to {estimate['high']:.3f})"
    return f"{estimate['value']:.3f}{interval}"
