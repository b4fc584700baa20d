#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""Draw the logo, a chain of residues folding through two turns, as two SVG files and the favicon."""

import math
import sys
from pathlib import Path

from PIL import Image, ImageDraw


IMAGES = Path(__file__).resolve().parents[1] / "docs" / "assets" / "images"
SIZE = 64
NUM_RESIDUES = 9
RADIUS = 5.0
STROKE = 3.0
TEAL = "#0b7a75"


def residues() -> list[tuple[float, float, float]]:
    """Return (x, y, radius) of each residue in a square of 64; the nearer ones are larger."""
    points = []
    for k in range(NUM_RESIDUES):
        turn = 2 * math.pi * 1.5 * k / (NUM_RESIDUES - 1)
        x = 8 + 48 * k / (NUM_RESIDUES - 1)
        points.append((x, 32 - 18 * math.sin(turn), RADIUS * (0.85 + 0.25 * math.cos(turn))))
    return points


def svg(colour: str) -> str:
    """Return the logo in one colour as SVG text."""
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in residues())
    beads = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>' for x, y, r in residues())
    chain = (
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{STROKE:g}" stroke-linejoin="round"/>'
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="BioNeMo">'
    return f'{head}{chain}<g fill="{colour}">{beads}</g></svg>\n'


def favicon(size: int = 64, oversampling: int = 8) -> Image.Image:
    """Return the logo as a picture with a transparent ground, drawn large and scaled down for smooth edges."""
    scale = size * oversampling / SIZE
    picture = Image.new("RGBA", (size * oversampling, size * oversampling), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    pen.line([(x * scale, y * scale) for x, y, _ in residues()], fill=TEAL, width=round(STROKE * scale), joint="curve")
    for x, y, r in residues():
        pen.ellipse(((x - r) * scale, (y - r) * scale, (x + r) * scale, (y + r) * scale), fill=TEAL)
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def main() -> int:
    """Write the three files."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    (IMAGES / "logo-white.svg").write_text(svg("#ffffff"), encoding="utf-8")
    (IMAGES / "logo-icon-black.svg").write_text(svg("#000000"), encoding="utf-8")
    favicon().save(IMAGES / "favicon.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
