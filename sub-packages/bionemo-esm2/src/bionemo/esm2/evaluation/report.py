# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The report of ``evaluate_esm2``: ``report.md``, ``report.json`` and ``scores.png``."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bionemo.core.files import write_bytes, write_json, write_text
from bionemo.esm2.evaluation.figures import TaskResult


MARKDOWN_NAME, JSON_NAME, PICTURE_NAME = "report.md", "report.json", "scores.png"


def write_report(folder: Path, model: str, results: Sequence[TaskResult]) -> None:
    """Write the three files of a report.

    Args:
        folder: Where to.
        model: Name of the model.
        results: Of all data sets.
    """
    write_json(folder / JSON_NAME, {"model": model, "results": [as_mapping(result) for result in results]})
    draw_scores(folder / PICTURE_NAME, results)
    write_text(folder / MARKDOWN_NAME, markdown(model, results))


def as_mapping(result: TaskResult) -> dict[str, Any]:
    """Return a result as plain values; what is not defined is None."""
    scores = [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in pairs}
        for pairs in (score._asdict().items() for score in result.scores)
    ]
    return {**result._asdict(), "scores": scores}


def markdown(model: str, results: Sequence[TaskResult]) -> str:
    """Return the report as Markdown: a table for each data set, the best figure in bold."""
    lines = [f"# Evaluation of {model}", "", f"![All figures]({PICTURE_NAME})", ""]
    for result in results:
        lines += [
            f"## {result.dataset}: {result.task}",
            "",
            f"{result.num_train} trained on, {result.num_held_out} held out.",
            "",
            "| method | metric | value | 95 % interval |",
            "|---|---|---|---|",
        ]
        best = max((score.value for score in result.scores if math.isfinite(score.value)), default=math.nan)
        for score in result.scores:
            value = f"**{score.value:.4f}**" if score.value == best else f"{score.value:.4f}"
            method = score.method if score.is_model else f"{score.method} (baseline)"
            lines.append(f"| {method} | {score.metric} | {value} | {score.low:.4f} to {score.high:.4f} |")
        lines.append("")
    lines.append("Intervals are of resampled proteins or variants of the held-out ones, 200 times.")
    return "\n".join(lines) + "\n"


def draw_scores(path: Path, results: Sequence[TaskResult]) -> None:
    """Draw all figures as bars with their intervals, a panel for each data set; baselines are gray."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [max(len(result.scores), 1) for result in results]
    figure = Figure(figsize=(8.5, 0.9 + sum(0.38 * row + 0.75 for row in rows)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(results), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axis, result in zip(axes, results, strict=True):
        names = [score.method for score in result.scores]
        values = [0.0 if math.isnan(score.value) else score.value for score in result.scores]
        errors = [
            [max(0.0, value - score.low) for value, score in zip(values, result.scores, strict=True)],
            [max(0.0, score.high - value) for value, score in zip(values, result.scores, strict=True)],
        ]
        colors = ["#0072B2" if score.is_model else "#999999" for score in result.scores]
        axis.barh(names, values, xerr=errors, color=colors, error_kw={"elinewidth": 1.0, "capsize": 2.0})
        axis.invert_yaxis()
        axis.set_title(f"{result.dataset}: {result.task}", loc="left", fontsize=9)
        axis.set_xlabel(result.scores[0].metric if result.scores else "", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    write_bytes(path, picture.getvalue())
