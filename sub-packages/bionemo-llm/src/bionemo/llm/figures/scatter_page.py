# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A scatter plot as one HTML file: nothing is loaded from elsewhere, the pointer shows what a point is, a wheel zooms.

The values lie in the page as JSON (``<script id="points">``), so that they can be read without a browser.
"""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def scatter_page(
    points: NDArray[np.floating],
    columns: Mapping[str, Sequence[Any]],
    *,
    title: str,
    axes: tuple[str, str],
    color_by: str | None = None,
    note: str = "",
) -> str:
    """Build the page.

    Args:
        points: [P, 2] coordinates.
        columns: What the pointer shows of each point, P values each: text or numbers.
        title: Headline.
        axes: Names of the two axes.
        color_by: The column that colors the points: numbers by a scale, texts by groups; None: one color.
        note: One line below the headline.

    Returns:
        The HTML.

    >>> page = scatter_page(np.zeros((1, 2)), {"id": ["P1"]}, title="Proteins", axes=("PC 1", "PC 2"))
    >>> json.loads(page.split('id="points">')[1].split("</script>")[0])["columns"]
    {'id': ['P1']}
    """
    content = {
        "x": [round(float(value), 5) for value in points[:, 0]],
        "y": [round(float(value), 5) for value in points[:, 1]],
        "columns": {name: [_plain(value) for value in values] for name, values in columns.items()},
        "axes": list(axes),
        "colorBy": color_by,
    }
    safe = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")  # no text can end the script element
    parts = {"@TITLE@": html.escape(title), "@NOTE@": html.escape(note), "@POINTS@": safe}
    page = _PAGE
    for mark, text in parts.items():
        page = page.replace(mark, text)
    return page


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>@TITLE@</title>
<style>
  body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff; }
  h1 { font-size: 1.3rem; margin: 0; }
  #frame { position: relative; display: inline-block; margin-top: 0.8rem; }
  canvas { border: 1px solid #ccc; cursor: crosshair; }
  #tip { position: absolute; pointer-events: none; background: #fffffff2; border: 1px solid #888;
         padding: 0.3rem 0.5rem; border-radius: 4px; font-size: 13px; display: none; white-space: nowrap; }
  #legend { display: inline-block; vertical-align: top; margin: 0.8rem 0 0 1rem; font-size: 13px; max-width: 16rem; }
  .key { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 50%; margin-right: 0.4em; }
  .note { color: #555; margin: 0.2rem 0 0; }
</style>
</head>
<body>
<h1>@TITLE@</h1>
<p class="note">@NOTE@</p>
<div id="frame"><canvas id="plot" width="820" height="620"></canvas><div id="tip"></div></div>
<div id="legend"></div>
<script type="application/json" id="points">@POINTS@</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("points").textContent);
const canvas = document.getElementById("plot"), context = canvas.getContext("2d");
const tip = document.getElementById("tip");
const GROUPS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f", "#8c564b",
  "#17becf", "#9467bd", "#2ca02c"];
const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const PAD = 42, count = data.x.length;

function colors() {
  const values = data.colorBy === null ? null : data.columns[data.colorBy];
  const legend = document.getElementById("legend");
  if (values === null) return new Array(count).fill(GROUPS[0]);
  const head = document.createElement("div");
  head.textContent = data.colorBy;
  legend.append(head);
  const entry = (color, text) => {
    const line = document.createElement("div"), key = document.createElement("span");
    key.className = "key";
    key.style.background = color;
    line.append(key, text);
    legend.append(line);
  };
  if (values.every(value => typeof value === "number")) {
    const low = Math.min(...values), high = Math.max(...values);
    const shade = share => {
      const place = share * (SCALE.length - 1), below = Math.min(Math.floor(place), SCALE.length - 2);
      const mix = SCALE[below].map((part, idx) => Math.round(part + (place - below) * (SCALE[below + 1][idx] - part)));
      return `rgb(${mix.join(",")})`;
    };
    for (const share of [0, 0.5, 1]) entry(shade(share), String(Math.round((low + share * (high - low)) * 100) / 100));
    return values.map(value => shade(high > low ? (value - low) / (high - low) : 0));
  }
  const names = [...new Set(values.map(String))];
  names.slice(0, 40).forEach((name, idx) => entry(GROUPS[idx % GROUPS.length], name));
  if (names.length > 40) entry("#fff", `and ${names.length - 40} more`);
  return values.map(value => GROUPS[names.indexOf(String(value)) % GROUPS.length]);
}

const shades = colors();
const range = values => [Math.min(...values), Math.max(...values)];
const view = {x: range(data.x), y: range(data.y)};
for (const axis of ["x", "y"]) {
  const margin = (view[axis][1] - view[axis][0]) * 0.04 || 1;
  view[axis] = [view[axis][0] - margin, view[axis][1] + margin];
}
const toX = value => PAD + (value - view.x[0]) / (view.x[1] - view.x[0]) * (canvas.width - PAD - 8);
const toY = value => canvas.height - PAD - (value - view.y[0]) / (view.y[1] - view.y[0]) * (canvas.height - PAD - 8);
const radius = count > 5000 ? 2 : count > 500 ? 3 : 4.5;

function draw(marked) {
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.globalAlpha = 0.8;
  for (let idx = 0; idx < count; idx++) {
    context.fillStyle = shades[idx];
    context.beginPath();
    context.arc(toX(data.x[idx]), toY(data.y[idx]), radius, 0, 7);
    context.fill();
  }
  context.globalAlpha = 1;
  if (marked !== null) {
    context.strokeStyle = "#000";
    context.beginPath();
    context.arc(toX(data.x[marked]), toY(data.y[marked]), radius + 3, 0, 7);
    context.stroke();
  }
  context.fillStyle = "#333";
  context.font = "13px system-ui, sans-serif";
  context.textAlign = "center";
  context.fillText(data.axes[0], canvas.width / 2, canvas.height - 12);
  context.save();
  context.translate(16, canvas.height / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(data.axes[1], 0, 0);
  context.restore();
}

function nearest(left, top) {
  let best = null, least = 144;
  for (let idx = 0; idx < count; idx++) {
    const distance = (toX(data.x[idx]) - left) ** 2 + (toY(data.y[idx]) - top) ** 2;
    if (distance < least) { least = distance; best = idx; }
  }
  return best;
}

function show(idx) {
  draw(idx);
  tip.style.display = idx === null ? "none" : "block";
  if (idx === null) return;
  tip.replaceChildren();
  for (const [name, values] of Object.entries(data.columns)) {
    const line = document.createElement("div");
    line.textContent = `${name}: ${values[idx]}`;
    tip.append(line);
  }
  tip.style.left = `${toX(data.x[idx]) + 12}px`;
  tip.style.top = `${toY(data.y[idx]) + 8}px`;
}

canvas.addEventListener("mousemove", event => show(nearest(event.offsetX, event.offsetY)));
canvas.addEventListener("mouseleave", () => show(null));
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const factor = event.deltaY > 0 ? 1.2 : 1 / 1.2;
  const shares = {x: (event.offsetX - PAD) / (canvas.width - PAD - 8),
    y: (canvas.height - PAD - event.offsetY) / (canvas.height - PAD - 8)};
  for (const axis of ["x", "y"]) {
    const [low, high] = view[axis], center = low + shares[axis] * (high - low);
    view[axis] = [center + (low - center) * factor, center + (high - center) * factor];
  }
  show(nearest(event.offsetX, event.offsetY));
}, {passive: false});
draw(null);
document.body.dataset.drawn = String(count);
</script>
</body>
</html>
"""
