# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Heat maps of single substitutions: a picture, and one HTML file without anything from elsewhere.

Letters: S residues, A the 20 standard residues.
"""

import html
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.esm2.variants.mutations import parse_variant
from bionemo.esm2.variants.results import ScoreRow


LETTERS = "GAVLIMFWYPSTCNQDEHKR"
"""Rows of the heat map: small, aliphatic, aromatic, polar, charged."""
RESIDUES_PER_LINE, MAX_LINES = 100, 20
_SIMPLE = re.compile(r"[A-Z]\d+[A-Z]")


@dataclass(frozen=True)
class HeatMap:
    """Scores of single substitutions.

    Attributes:
        title: Above the picture.
        wild_type: S letters.
        positions: [S] int64, as variants are written.
        scores_AS: NaN where there is none; rows are `LETTERS`.
    """

    title: str
    wild_type: str
    positions: NDArray[np.int64]
    scores_AS: NDArray[np.float64]


def heat_map_of(rows: Sequence[ScoreRow], title: str) -> HeatMap | None:
    """Collect the single substitutions of one chain; None where there are none.

    A position without any is left empty if it lies between others.

    >>> rows = [ScoreRow(0, "P", "", text, "masked-marginal", -1.0, None) for text in ("M1A", "p.Lys3Gly", "M1A:K3G")]
    >>> found = heat_map_of(rows, "P")
    >>> found.wild_type, found.positions.tolist()
    ('M?K', [1, 2, 3])
    """
    cells: dict[tuple[int, str], float] = {}
    letters: dict[int, str] = {}
    for row in rows:
        if ":" in row.mutant or ";" in row.mutant:
            continue
        if _SIMPLE.fullmatch(row.mutant):
            first, position, new = row.mutant[0], int(row.mutant[1:-1]), row.mutant[-1]
        else:
            try:
                variant = parse_variant(row.mutant)
            except DataError:  # positions below 1, as an offset may make them
                continue
            if len(variant.edits) != 1 or not variant.is_substitution:
                continue
            first, position, new = variant.edits[0].first, variant.edits[0].start, variant.edits[0].new
        letters[position] = first
        if new in LETTERS and new != first:
            cells[position, new] = row.score
    if not cells:
        return None
    positions = np.arange(min(letters), max(letters) + 1)
    scores_AS = np.full((len(LETTERS), len(positions)), np.nan)
    for (position, new), score in cells.items():
        scores_AS[LETTERS.index(new), position - positions[0]] = score
    wild_type = "".join(letters.get(int(position), "?") for position in positions)
    return HeatMap(title, wild_type, positions, scores_AS)


def color_limit(heat_map: HeatMap) -> float:
    """Return the score at which colors end on both sides of white, the 99th percentile of all."""
    scores = np.abs(heat_map.scores_AS[~np.isnan(heat_map.scores_AS)])
    return max(float(np.quantile(scores, 0.99)), 1e-6)


def draw_png(heat_map: HeatMap) -> bytes:
    """Draw the heat map: red below the wild type, blue above, a dot at the wild type.

    Lines have 100 residues; of proteins above 2,000 more, an overview without dots.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    per_line = max(RESIDUES_PER_LINE, math.ceil(len(heat_map.wild_type) / MAX_LINES))
    num_lines = math.ceil(len(heat_map.wild_type) / per_line)
    columns = min(len(heat_map.wild_type), per_line)
    is_overview = per_line > RESIDUES_PER_LINE
    figure = Figure(figsize=(2 + 0.11 * min(columns, RESIDUES_PER_LINE), 0.6 + 2.7 * num_lines), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(num_lines, 1, squeeze=False)[:, 0]
    limit = color_limit(heat_map)
    for line, ax in enumerate(axes):
        part = slice(line * per_line, (line + 1) * per_line)
        letters = heat_map.wild_type[part]
        image = ax.imshow(
            heat_map.scores_AS[:, part],
            cmap="RdBu",
            vmin=-limit,
            vmax=limit,
            aspect="auto",
            interpolation="antialiased" if is_overview else "nearest",
        )
        ax.set_facecolor("0.85")
        known = [(idx, LETTERS.index(letter)) for idx, letter in enumerate(letters) if letter in LETTERS]
        if known and not is_overview:
            ax.scatter(*zip(*known, strict=True), s=4, color="black")
        ax.set_xlim(-0.5, columns - 0.5)
        ax.set_yticks(range(len(LETTERS)), LETTERS, fontsize=6)
        ticks = [idx for idx, position in enumerate(heat_map.positions[part]) if position % (per_line // 10) == 0]
        ax.set_xticks(ticks, [str(heat_map.positions[part][idx]) for idx in ticks], fontsize=7)
    axes[0].set_title(heat_map.title)
    figure.colorbar(image, ax=axes, label="score (log odds against the wild type, nats)", fraction=0.02)
    buffer = io.BytesIO()
    canvas.print_figure(buffer, format="png", dpi=110)
    return buffer.getvalue()


def draw_html(heat_map: HeatMap) -> str:
    """Return one HTML file: the heat map, and the variant and score under the pointer."""
    scores = [
        [None if math.isnan(score) else round(float(score), 4) for score in row] for row in heat_map.scores_AS.tolist()
    ]
    data = {
        "letters": LETTERS,
        "wildType": heat_map.wild_type,
        "positions": heat_map.positions.tolist(),
        "limit": round(color_limit(heat_map), 4),
        "scores": scores,
    }
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    page = _PAGE.replace("@PER_LINE@", str(RESIDUES_PER_LINE)).replace("@TITLE@", html.escape(heat_map.title))
    return page.replace("@DATA@", text)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>@TITLE@</title>
<style>
body { font: 14px sans-serif; margin: 1em; background: #fff; color: #222; }
#map { overflow-x: auto; }
canvas { cursor: crosshair; display: block; }
#readout { min-height: 1.4em; font-weight: bold; }
#key { display: inline-block; width: 12em; height: 0.8em; vertical-align: middle; border: 1px solid #888;
       background: linear-gradient(to right, rgb(178,24,43), #fff, rgb(33,102,172)); }
</style>
</head>
<body>
<h1>@TITLE@</h1>
<p><span id="low"></span> <span id="key"></span> <span id="high"></span>
score: log odds against the wild type, nats; a dot marks the wild type, gray has no score</p>
<p id="readout">Point at a cell.</p>
<div id="map"></div>
<script type="application/json" id="data">@DATA@</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const cell = 14, left = 24, above = 20, perLine = @PER_LINE@;
const rows = data.letters.length, readout = document.getElementById("readout");
function color(score) {
  if (score === null) return "rgb(217,217,217)";
  const share = Math.max(-1, Math.min(1, score / data.limit));
  const end = share < 0 ? [178, 24, 43] : [33, 102, 172];
  return "rgb(" + end.map(c => Math.round(255 + (c - 255) * Math.abs(share))).join(",") + ")";
}
function drawLine(first) {
  const columns = Math.min(perLine, data.positions.length - first), ratio = window.devicePixelRatio || 1;
  const width = left + cell * columns, height = above + cell * rows + 24, canvas = document.createElement("canvas");
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.width = width + "px";
  canvas.style.height = height + "px";
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "10px sans-serif";
  pen.textAlign = "center";
  for (let row = 0; row < rows; row++) {
    pen.fillStyle = "#222";
    pen.fillText(data.letters[row], left / 2, above + cell * row + 11);
    for (let column = 0; column < columns; column++) {
      pen.fillStyle = color(data.scores[row][first + column]);
      pen.fillRect(left + cell * column, above + cell * row, cell - 1, cell - 1);
      if (data.wildType[first + column] !== data.letters[row]) continue;
      pen.fillStyle = "#000";
      pen.fillRect(left + cell * column + 5, above + cell * row + 5, 4, 4);
    }
  }
  pen.fillStyle = "#222";
  for (let column = 0; column < columns; column++) {
    const middle = left + cell * column + 6, position = data.positions[first + column];
    pen.fillText(data.wildType[first + column], middle, 12);
    if (position % 10 === 0) pen.fillText(position, middle, above + cell * rows + 12);
  }
  canvas.addEventListener("mousemove", event => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - left) / cell);
    const row = Math.floor((event.clientY - box.top - above) / cell);
    readout.textContent = "Point at a cell.";
    if (column < 0 || column >= columns || row < 0 || row >= rows) return;
    const score = data.scores[row][first + column], wildType = data.wildType[first + column];
    const value = wildType === data.letters[row] ? "wild type" : score === null ? "no score" : score;
    readout.textContent = wildType + data.positions[first + column] + data.letters[row] + ": " + value;
  });
  document.getElementById("map").append(canvas);
}
for (let first = 0; first < data.positions.length; first += perLine) drawLine(first);
document.getElementById("low").textContent = "\\u2264 " + -data.limit;
document.getElementById("high").textContent = "\\u2265 " + data.limit;
</script>
</body>
</html>
"""
