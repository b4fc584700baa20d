# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bionemo.core.errors import ConfigError
from bionemo.geneformer.perturbation.volcano import draw_volcano, has_volcano, save_volcano, significance


TABLE = {
    "Gene_name": np.array(["UP", "DOWN", "NONE", "RARE"]),
    "Shift_to_goal_end": np.array([0.02, -0.01, 0.001, 0.03]),
    "Goal_end_FDR": np.array([1e-6, 0.01, 0.5, 0.04]),
    "Sig": np.array([1, 1, 0, 1]),
    "Few_detections": np.array([0, 0, 0, 1]),
}


def test_dots_lie_at_shift_and_significance_and_significant_genes_are_named() -> None:
    from matplotlib.figure import Figure

    axes = draw_volcano(Figure(), TABLE)
    dots = np.concatenate([np.asarray(part.get_offsets()) for part in axes.collections])
    expected = np.column_stack([TABLE["Shift_to_goal_end"], -np.log10(TABLE["Goal_end_FDR"])])
    np.testing.assert_allclose(dots[dots[:, 0].argsort()], expected[expected[:, 0].argsort()])
    assert {text.get_text() for text in axes.texts} == {"UP", "DOWN", "RARE"}
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == [
        "FDR of 0.05 and more (1)",
        "significant, positive (1)",
        "significant, positive, few detections (1)",
        "significant, negative (1)",
    ]
    assert axes.get_title(loc="left") == "4 perturbed genes, 3 significant"
    assert axes.get_xlabel() == "mean shift towards the goal state (cosine)"


def test_a_rate_of_zero_or_none_has_a_finite_height() -> None:
    heights = significance(np.array([0.0, np.nan, 0.1]))
    assert heights[0] == pytest.approx(307.65, abs=0.01)
    assert heights[1:].tolist() == [0.0, 1.0]


def test_the_picture_is_written_whole(tmp_path: Path) -> None:
    save_volcano(TABLE, tmp_path / "volcano.png")
    assert (tmp_path / "volcano.png").read_bytes().startswith(b"\x89PNG")
    null = {name.replace("Goal_end", "Test_vs_null"): values for name, values in TABLE.items()}
    null["Test_vs_null_avg_shift"] = null.pop("Shift_to_goal_end")
    assert has_volcano(null)
    assert not has_volcano({"Cell_ID": np.array(["c"])})
    with pytest.raises(ConfigError, match="needs shifts with false discovery rates"):
        save_volcano({"Cell_ID": np.array(["c"])}, tmp_path / "other.png")
    assert [path.name for path in tmp_path.iterdir()] == ["volcano.png"]


def many_genes(rates: np.ndarray) -> dict[str, np.ndarray]:
    count = len(rates)
    return {
        "Gene_name": np.array([f"GENE{number}" for number in range(count)]),
        "Shift_to_goal_end": np.random.default_rng(0).normal(0.01, 0.001, count),
        "Goal_end_FDR": rates,
        "Sig": (rates < 0.05).astype(np.int64),
        "Few_detections": np.zeros(count, dtype=np.int64),
    }


def labels_of(axes: Any) -> list[Any]:
    return [text.get_window_extent() for text in axes.texts]


def drawn(table: dict[str, np.ndarray]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 6.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return draw_volcano(figure, table)


def test_names_do_not_overlap_and_the_largest_effects_are_named_where_nothing_is_significant() -> None:
    for rates in (np.full(40, 0.01), np.full(40, 0.5)):
        axes = drawn(many_genes(rates))
        boxes = labels_of(axes)
        assert len(boxes) >= 5
        assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])
    table = many_genes(np.full(40, 0.5))
    first = int(np.argmax(np.abs(table["Shift_to_goal_end"])))
    assert f"GENE{first}" in {text.get_text() for text in axes.texts}


def test_a_rate_of_zero_does_not_flatten_the_others() -> None:
    rates = np.concatenate([[0.0], np.geomspace(1e-6, 0.9, 39)])
    axes = drawn(many_genes(rates))
    assert axes.get_ylim()[1] < 20
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any(text.startswith("FDR below ") and text.endswith(" (1)") for text in legend)
