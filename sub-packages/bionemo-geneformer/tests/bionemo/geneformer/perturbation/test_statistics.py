# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bionemo.core.errors import ConfigError, DataError
from bionemo.geneformer.perturbation import statistics
from bionemo.geneformer.perturbation.shift_table import ShiftTable, table_to_shifts
from bionemo.geneformer.perturbation.statistics import StatisticsSettings, compute_statistics, default_mode


SETTINGS = StatisticsSettings(min_detections=3)


def shifts(rows: list[tuple[str, str, float]], column: str = "shift_to_goal", **rest: Any) -> ShiftTable:
    """From rows of gene, cell and value."""
    genes, cells, values = zip(*rows, strict=True)
    columns = {
        "cell_id": np.array(cells),
        "gene": np.array(genes),
        "gene_name": np.array(["+".join(f"name_{part}" for part in gene.split("+")) for gene in genes]),
        "token": np.array(["+".join(part.removeprefix("E") for part in gene.split("+")) for gene in genes]),
        column: np.array(values),
        **rest.pop("columns", {}),
    }
    return table_to_shifts(columns, rest.pop("scope", "all"), rest.pop("anchor", None))


def random_shifts(num_genes: int, num_cells: int, seed: int, column: str = "shift_to_goal") -> ShiftTable:
    rng = np.random.default_rng(seed)
    rows = [
        (f"E{gene}", f"c{cell}", float(rng.normal(0.02 * (gene == 0), 0.01)))
        for gene in range(num_genes)
        for cell in range(num_cells)
        if rng.random() < 0.8
    ]
    return shifts(rows, column)


def test_goal_shifts_of_all_genes_against_scipy() -> None:
    table = random_shifts(6, 20, seed=1)
    alternative = -table.values["shift_to_goal"]
    table = table._replace(values=table.values | {"shift_to_alt_other": alternative})
    result = compute_statistics("goal_state_shift", table, SETTINGS)
    assert list(result) == [
        "Gene", "Gene_name", "Ensembl_ID", "Shift_to_goal_end", "Shift_to_alt_end", "Goal_end_vs_random_pval",
        "Alt_end_vs_random_pval", "Goal_end_FDR", "Alt_end_FDR", "N_Detections", "Sig", "Few_detections",
    ]  # fmt: skip
    pooled = table.values["shift_to_goal"]
    pvalues = [stats.ranksums(pooled[table.gene_idx == gene], pooled).pvalue for gene in range(6)]
    rates = stats.false_discovery_control(pvalues)
    assert result["Ensembl_ID"][0] == "E0"
    assert (result["Gene"][0], result["Gene_name"][0]) == ("0", "name_E0")
    for row, name in enumerate(result["Ensembl_ID"]):
        gene = int(name[1:])
        mine = pooled[table.gene_idx == gene]
        assert result["Shift_to_goal_end"][row] == pytest.approx(mine.mean())
        assert result["Shift_to_alt_end"][row] == pytest.approx(-mine.mean())
        assert result["Goal_end_vs_random_pval"][row] == pytest.approx(pvalues[gene])
        assert result["Alt_end_vs_random_pval"][row] == pytest.approx(pvalues[gene])
        assert result["Goal_end_FDR"][row] == pytest.approx(rates[gene])
        assert result["N_Detections"][row] == len(mine)
        assert result["Sig"][row] == (rates[gene] < 0.05)
    assert result["Sig"][0] == 1


def test_rows_are_sorted_by_significance_then_shift_and_few_detections_are_flagged() -> None:
    rows = [("E1", f"c{cell}", 0.5) for cell in range(40)]
    rows += [("E2", f"c{cell}", float(value)) for cell, value in enumerate(np.linspace(-1, 0.4, 60))]
    rows.append(("E3", "c0", 0.9))
    result = compute_statistics("goal_state_shift", shifts(rows), SETTINGS)
    assert result["Ensembl_ID"].tolist() == ["E1", "E2", "E3"]
    assert result["Sig"].tolist() == [1, 1, 0]
    assert result["Few_detections"].tolist() == [0, 0, 1]


def test_several_alternative_states_are_named() -> None:
    rows = [("E1", "c0", 0.1), ("E2", "c0", 0.2)]
    table = shifts(rows, columns={"shift_to_alt_a": np.zeros(2), "shift_to_alt_b": np.ones(2)})
    result = compute_statistics("goal_state_shift", table, SETTINGS)
    names = ["Alt_end_a_FDR", "Alt_end_b_vs_random_pval", "Shift_to_alt_end_a", "Shift_to_alt_end_b"]
    assert set(names) <= set(result)
    assert result["Shift_to_alt_end_b"].tolist() == [1, 1]


def test_the_background_is_a_seeded_sample_of_many_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_BACKGROUND", 50)
    table = random_shifts(6, 20, seed=1)
    first, again, other = (
        compute_statistics("goal_state_shift", table, StatisticsSettings(seed=seed)) for seed in (42, 42, 43)
    )
    np.testing.assert_array_equal(first["Goal_end_vs_random_pval"], again["Goal_end_vs_random_pval"])
    assert not np.array_equal(first["Goal_end_vs_random_pval"], other["Goal_end_vs_random_pval"])
    sample = np.random.default_rng(42).choice(table.values["shift_to_goal"], size=50, replace=False)
    row = first["Ensembl_ID"].tolist().index("E3")
    expected = stats.ranksums(table.values["shift_to_goal"][table.gene_idx == 3], sample).pvalue
    assert first["Goal_end_vs_random_pval"][row] == pytest.approx(expected)


def test_a_group_has_no_background_and_is_listed_by_cell() -> None:
    rows = [("E1+E2", "c0", 0.1), ("E1+E2", "c1", 0.3), ("E1+E2", "c2", -0.2)]
    result = compute_statistics("goal_state_shift", shifts(rows, scope="group"), SETTINGS)
    assert list(result) == ["Cell_ID", "Shift_to_goal_end"]
    assert result["Cell_ID"].tolist() == ["c1", "c0", "c2"]
    assert result["Shift_to_goal_end"].tolist() == [0.3, 0.1, -0.2]


def test_test_cells_against_null_cells() -> None:
    test, null = random_shifts(5, 30, seed=1), random_shifts(5, 25, seed=9)
    # Other genes on either side, so that the two number the same gene differently.
    extra = shifts([("E00", "c0", 0.5), *_rows(test)])
    null = shifts([("E9", "c0", 0.5), *[row for row in _rows(null) if row[0] != "E2"]])
    result = compute_statistics("vs_null", extra, SETTINGS, null)
    assert list(result)[3:] == [
        "Test_avg_shift", "Null_avg_shift", "Test_vs_null_avg_shift", "Test_vs_null_pval", "Test_vs_null_FDR",
        "N_Detections_test", "N_Detections_null", "Sig", "Few_detections",
    ]  # fmt: skip
    assert sorted(result["Ensembl_ID"]) == ["E0", "E1", "E3", "E4"]
    samples = {name: (_of(extra, name), _of(null, name)) for name in ("E0", "E1", "E3", "E4")}
    pvalues = {name: stats.ranksums(*pair).pvalue for name, pair in samples.items()}
    rates = dict(zip(pvalues, stats.false_discovery_control(list(pvalues.values())), strict=True))
    for row, name in enumerate(result["Ensembl_ID"]):
        mine, other = samples[name]
        assert result["Test_vs_null_avg_shift"][row] == pytest.approx(mine.mean() - other.mean())
        assert result["Test_vs_null_pval"][row] == pytest.approx(pvalues[name])
        assert result["Test_vs_null_FDR"][row] == pytest.approx(rates[name])
        assert (result["N_Detections_test"][row], result["N_Detections_null"][row]) == (len(mine), len(other))


def _rows(table: ShiftTable) -> list[tuple[str, str, float]]:
    genes = [table.labels[idx].gene for idx in table.gene_idx]
    return list(zip(genes, table.cell_ids.tolist(), table.values["shift_to_goal"].tolist(), strict=True))


def _of(table: ShiftTable, gene: str) -> np.ndarray:
    names = np.array([label.gene for label in table.labels])
    return table.values["shift_to_goal"][names[table.gene_idx] == gene]


def test_the_mixture_finds_the_genes_that_were_given_an_impact() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    rows = []
    for gene in range(40):
        mean = 0.995 if gene < 8 else 0.9995
        rows += [(f"E{gene:02d}", f"c{cell}", float(rng.normal(mean, 1e-4))) for cell in range(10)]
    rows.append(("E39", "c10", 0.98))  # one of eleven observations of this gene
    result = compute_statistics("mixture_model", shifts(rows, "cosine"), SETTINGS)
    assert list(result)[3:] == [
        "Test_avg_shift", "Impact_component", "Impact_component_percent", "N_Detections", "Few_detections",
    ]  # fmt: skip
    assert sorted(result["Ensembl_ID"][:8]) == [f"E{gene:02d}" for gene in range(8)]
    assert result["Impact_component"].tolist() == [1] * 8 + [0] * 32
    assert (np.diff(result["Test_avg_shift"][:8]) >= 0).all()
    assert result["Test_avg_shift"][0] == pytest.approx(-0.005, abs=2e-4)
    shares = dict(zip(result["Ensembl_ID"], result["Impact_component_percent"], strict=True))
    assert shares["E00"] == 100
    assert shares["E20"] == 0
    assert shares["E39"] == pytest.approx(100 / 11)


def test_pairs_stand_beside_the_sum_of_both_genes() -> None:
    pytest.importorskip("sklearn")
    rows = [("E1", "c0", 0.98), ("E2", "c0", 0.97), ("E1+E2", "c0", 0.90), ("E3", "c0", 0.99), ("E1+E3", "c0", 0.975)]
    rows.append(("E1+E4", "c0", 0.974))  # E4 alone changed nothing and was left out
    table = shifts(rows, "cosine", scope="pairs", anchor="E1")
    result = compute_statistics("mixture_model", table, SETTINGS)
    assert list(result)[3:8] == [
        "Anchor_shift", "Test_token_shift", "Sum_of_indiv_shifts", "Combo_shift", "Combo_minus_sum_shift",
    ]  # fmt: skip
    assert result["Ensembl_ID"].tolist() == ["E2", "E3", "E4"]
    assert result["Gene_name"].tolist() == ["name_E2", "name_E3", "name_E4"]
    assert result["Impact_component"].tolist() == [1, 0, 0]
    assert result["Combo_shift"] == pytest.approx([-0.10, -0.025, -0.026])
    assert result["Sum_of_indiv_shifts"][:2] == pytest.approx([-0.05, -0.03])
    assert result["Combo_minus_sum_shift"][:2] == pytest.approx([-0.05, 0.005])
    assert np.isnan(result["Test_token_shift"][2])


def test_one_group_is_listed() -> None:
    rows = [("E1+E2", "c0", 0.99), ("E1+E2", "c1", 0.97)]
    result = compute_statistics("aggregate_data", shifts(rows, "cosine", scope="group"), SETTINGS)
    assert result["Cell_ID"].tolist() == ["c1", "c0"]
    assert result["Cosine_shift"] == pytest.approx([-0.03, -0.01])


def test_the_default_mode_fits_the_shifts() -> None:
    rows = [("E1", "c0", 0.5)]
    assert default_mode(shifts(rows)) == "goal_state_shift"
    assert default_mode(shifts(rows, "cosine")) == "mixture_model"
    assert default_mode(shifts(rows, "cosine", scope="group")) == "aggregate_data"


@pytest.mark.parametrize(
    ("mode", "table", "null", "message"),
    [
        ("goal_state_shift", shifts([("E1", "c", 0.5)], "cosine"), None, "measured without a goal state"),
        ("mixture_model", shifts([("E1", "c", 0.5)]), None, "needs every gene perturbed"),
        ("aggregate_data", shifts([("E1", "c", 0.5)], "cosine"), None, "lists the shifts of one group"),
        ("vs_null", shifts([("E1", "c", 0.5)]), None, "vs_null: needs shifts of null cells"),
        (
            "mixture_model",
            shifts([("E1", "c", 0.5)], "cosine"),
            shifts([("E1", "c", 0.5)], "cosine"),
            "mixture_model: takes no shifts of null cells",
        ),
        (
            "vs_null",
            shifts([("E1", "c", 0.5)]),
            shifts([("E1", "c", 0.5)], "cosine"),
            "one of the two was measured with a goal state, the other without",
        ),
    ],
)
def test_modes_that_do_not_fit_are_refused(
    mode: Any, table: ShiftTable, null: ShiftTable | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        compute_statistics(mode, table, SETTINGS, null)


def test_too_few_shifts_are_refused() -> None:
    pytest.importorskip("sklearn")
    with pytest.raises(DataError, match="1 genes with 1 different mean cosines, needs two or more"):
        compute_statistics("mixture_model", shifts([("E1", "c", 0.5)], "cosine"), SETTINGS)
    with pytest.raises(DataError, match="no gene was perturbed in both"):
        compute_statistics("vs_null", shifts([("E1", "c", 0.5)]), SETTINGS, shifts([("E2", "c", 0.5)]))
    empty = shifts([("E1", "c", 0.5)])._replace(gene_idx=np.empty(0, dtype=np.int64))
    with pytest.raises(DataError, match="there are no shifts"):
        compute_statistics("goal_state_shift", empty, SETTINGS)
