# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""loss.png: the curves hold the numbers of metrics.csv, and odd files still give a picture."""

import math
import struct
import subprocess
import sys

import numpy as np
import pytest

from bionemo.core.errors import DataFileError, MissingFileError
from bionemo.llm.training.loss_plot import RESIDUE_FREQUENCIES_LABEL, PlotTexts, draw_loss_plot, draw_losses, smoothed
from bionemo.llm.training.metrics_csv import MetricsCsv, read_metrics


def _metrics(path, rows):
    metrics = MetricsCsv(path)
    for row in rows:
        metrics.append(row)
    return path


@pytest.fixture
def path(tmp_path):
    """300 steps of 1,000 tokens, a validation every 100; one training loss is undefined, one infinite."""
    rows = []
    for step in range(1, 301):
        row = {"step": step, "consumed_tokens": 1_000 * step, "train_loss": 2.5 + 1.0 / step}
        if step % 100 == 0:
            row |= {"val_loss": 2.6 + 1.0 / step, "val_loss_masked": 2.8 + 1.0 / step}
        rows.append(row)
    rows[6]["train_loss"] = math.nan
    rows[7]["train_loss"] = math.inf
    return _metrics(tmp_path / "metrics.csv", rows)


def _axes(path, reference_line=2.87):
    from matplotlib.figure import Figure

    return draw_losses(Figure(), read_metrics(path), reference_line, RESIDUE_FREQUENCIES_LABEL)


def _curves(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def _png_size(path):
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])


def test_curves_hold_the_numbers_of_the_file(path):
    curves = _curves(_axes(path))
    masked = curves["validation, every selected position masked"]
    assert masked.get_xydata().tolist() == [[step, 2.8 + 1.0 / step] for step in (100, 200, 300)]
    assert curves["validation"].get_xydata()[2].tolist() == [300, 2.6 + 1.0 / 300]
    assert set(curves[RESIDUE_FREQUENCIES_LABEL].get_ydata()) == {2.87}
    assert len(curves["training"].get_xdata()) == 298  # the undefined and the infinite loss are left out
    assert np.isfinite(curves["training"].get_ydata()).all()


def test_says_how_far_the_last_masked_loss_is_from_the_line(path):
    assert [text.get_text() for text in _axes(path).texts] == ["2.803\n0.067 below the line"]
    assert [text.get_text() for text in _axes(path, reference_line=2.5).texts] == ["2.803\n0.303 above the line"]
    assert not _axes(path, reference_line=None).texts


def test_top_axis_counts_tokens(path):
    axes = _axes(path)
    axes.figure.draw_without_rendering()
    (top,) = axes.child_axes
    labels = dict(zip(top.get_xticks(), [tick.get_text() for tick in top.get_xticklabels()], strict=True))
    assert labels[100] == "100k"
    assert labels[300] == "300k"
    assert labels[0] == "0"


def test_all_curves_and_the_line_are_in_view(path):
    low, high = _axes(path, reference_line=5.0).get_ylim()
    assert low < 2.5
    assert high > 5.0


def test_a_small_loss_leaves_no_room_below_zero(tmp_path):
    from matplotlib.figure import Figure

    rows = [{"step": step, "train_loss": 2.0 / step} for step in range(1, 100)]
    metrics = read_metrics(_metrics(tmp_path / "metrics.csv", rows))
    axes = draw_losses(Figure(), metrics, None, "", PlotTexts("Regression loss", "mean squared error"))
    assert axes.get_ylim()[0] == 0
    assert (axes.get_title(loc="left"), axes.get_ylabel()) == ("Regression loss", "mean squared error")


def test_writes_a_png_of_the_documented_size(path, tmp_path):
    draw_loss_plot(path, tmp_path / "loss.png", reference_line=2.87)
    assert _png_size(tmp_path / "loss.png") == (1350, 825)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["loss.png", "metrics.csv"]


@pytest.mark.parametrize(
    "rows",
    [
        [{"step": 1, "train_loss": 3.5, "consumed_tokens": 100}],
        [{"step": 1, "val_loss_masked": 3.5}],
        [{"step": 0}],
        [{"step": 1, "train_loss": math.nan}, {"step": 2, "val_loss": math.inf}],
    ],
    ids=["one training row", "one validation row", "no loss", "nothing finite"],
)
@pytest.mark.parametrize("reference_line", [None, 2.87])
def test_short_and_empty_files_give_a_picture(tmp_path, rows, reference_line):
    path = _metrics(tmp_path / "metrics.csv", rows)
    axes = _axes(path, reference_line)
    drawn = sum(len(line.get_xdata()) for label, line in _curves(axes).items() if not label.startswith("_child"))
    finite = sum(math.isfinite(row.get(name, math.nan)) for row in rows for name in ("train_loss", "val_loss_masked"))
    assert drawn == finite + (0 if reference_line is None else 2)
    draw_loss_plot(path, tmp_path / "loss.png", reference_line=reference_line)
    assert _png_size(tmp_path / "loss.png") == (1350, 825)


def test_missing_metrics_and_unwritable_picture(path, tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        draw_loss_plot(tmp_path / "none.csv", tmp_path / "loss.png")
    (tmp_path / "taken").mkdir()
    with pytest.raises(DataFileError, match="taken"):
        draw_loss_plot(path, tmp_path / "taken")
    assert not (tmp_path / "loss.png").exists()


@pytest.mark.parametrize("window", [0, 1, 3, 50])
def test_smoothed_is_a_centred_mean(window):
    values = np.random.default_rng(1).random(20)
    expected = [values[max(i - window, 0) : i + window + 1].mean() for i in range(20)]
    np.testing.assert_allclose(smoothed(values, window=window), expected, rtol=1e-12)


def test_neither_import_nor_drawing_needs_pyplot(path, tmp_path):
    code = (
        "import sys\n"
        "from bionemo.llm.training.loss_plot import draw_loss_plot\n"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules\n"
        "draw_loss_plot(sys.argv[1], sys.argv[2])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "loss.png")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.stderr == ""
    assert result.returncode == 0
