# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The heat map's values in the HTML file, its picture, and its hover in a browser."""

import io
import json
import re
import shutil
import subprocess

import matplotlib.image
import numpy as np
import pytest

from bionemo.esm2.variants.heat_map import (
    LETTERS,
    RESIDUES_PER_LINE,
    HeatMap,
    color_limit,
    draw_html,
    draw_png,
    heat_map_of,
)
from bionemo.esm2.variants.results import ScoreRow


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")
HOVER = """<script>
const canvas = document.querySelectorAll("canvas")[LINE], box = canvas.getBoundingClientRect();
canvas.dispatchEvent(new MouseEvent("mousemove", {clientX: box.left + X, clientY: box.top + Y}));
</script></body>"""


@pytest.fixture
def heat_map():
    """A scan of 130 residues, two lines of the picture, without the scores of one position."""
    wild_type = "MKTAYIAKQR" * 13
    rows = [
        ScoreRow(0, "P", "", f"{old}{place + 5}{new}", "masked-marginal", place - LETTERS.index(new) / 8, None)
        for place, old in enumerate(wild_type)
        for new in LETTERS
        if new != old and place != 40
    ]
    return heat_map_of(rows, "P <1> & </script>")


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_holds_every_score_and_nothing_from_elsewhere(heat_map):
    page = draw_html(heat_map)
    data = data_of(page)
    assert data["positions"] == list(range(5, 135))
    assert (data["wildType"][:3], data["wildType"][40], data["letters"]) == ("MKT", "?", LETTERS)
    found = np.array([[np.nan if score is None else score for score in row] for row in data["scores"]])
    np.testing.assert_allclose(found, heat_map.scores_AS, atol=1e-4)
    assert np.isnan(found[LETTERS.index("K"), 1])
    assert found[LETTERS.index("W"), 1] == pytest.approx(1 - LETTERS.index("W") / 8, abs=1e-4)
    assert data["limit"] == pytest.approx(color_limit(heat_map), abs=1e-4)
    assert not re.search(r"https?://|src=|@import", page)
    assert "P &lt;1&gt; &amp; &lt;/script&gt;" in page


def test_the_picture_shows_the_scores_in_their_colors(heat_map):
    picture = matplotlib.image.imread(io.BytesIO(draw_png(heat_map)))
    red = (picture[..., 0] - picture[..., 2] > 0.4).sum()
    blue = (picture[..., 2] - picture[..., 0] > 0.4).sum()
    assert picture.shape[1] > picture.shape[0]
    assert blue > 20 * max(red, 1)  # scores of later residues are high
    wild_type = "M" * 35_000  # titin: more lines than a picture can have
    titin = HeatMap("titin", wild_type, np.arange(35_000), np.zeros((20, 35_000)))
    assert matplotlib.image.imread(io.BytesIO(draw_png(titin))).shape[0] < 2**13


def test_hover_names_the_variant_and_its_score_in_a_browser(heat_map, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser found ({', '.join(BROWSERS)})")
    for place, new in ((2, "W"), (3, "A"), (RESIDUES_PER_LINE + 1, "E"), (40, "A")):
        line, column = divmod(place, RESIDUES_PER_LINE)
        x, y = 24 + 14 * column + 7, 20 + 14 * LETTERS.index(new) + 7
        hover = (
            HOVER.replace("LINE", str(line)).replace("X:", "X:").replace("+ X,", f"+ {x},").replace("+ Y}", f"+ {y}}}")
        )
        (tmp_path / "page.html").write_text(draw_html(heat_map).replace("</body>", hover))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"]
        done = subprocess.run([browser, *flags, tmp_path / "page.html"], capture_output=True, text=True, timeout=60)
        text = re.search(r'id="readout">(.*?)<', done.stdout)[1]
        wild_type = heat_map.wild_type[place]
        score = heat_map.scores_AS[LETTERS.index(new), place]
        value = "wild type" if wild_type == new else "no score" if np.isnan(score) else f"{round(score, 4):g}"
        assert text == f"{wild_type}{place + 5}{new}: {value}"
