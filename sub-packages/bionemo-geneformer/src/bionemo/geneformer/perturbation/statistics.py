# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which perturbations matter: tables of shifts with p-values, false discovery rates and detections.

A shift is 0 where nothing changes. That of a cosine between the perturbed and the unperturbed cell is the cosine
minus 1: negative, and more so the further the cell moves; the published toolkit's tables hold the cosine itself.

p-values rank genes, they are no proof: the background of ``goal_state_shift`` holds the tested gene too, and cells of
one state only.

Letters: N rows, G genes.
"""

import csv
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError
from bionemo.core.files import atomic_file
from bionemo.geneformer.perturbation.impact_mixture import ImpactMixture
from bionemo.geneformer.perturbation.rank_sum import false_discovery_rates, rank_sum_pvalues, two_sample_pvalues
from bionemo.geneformer.perturbation.shift_table import SEPARATOR, GeneLabel, ShiftTable
from bionemo.geneformer.perturbation.shifts import COSINE


if TYPE_CHECKING:
    from collections.abc import Callable

StatisticsMode = Literal["goal_state_shift", "vs_null", "mixture_model", "aggregate_data"]
Table = dict[str, NDArray[Any]]
"""Column name to one value for each row."""

MAX_BACKGROUND = 100_000
GOAL = "shift_to_goal"
ALTERNATIVE = "shift_to_alt_"


@dataclass(frozen=True, kw_only=True)
class StatisticsSettings:
    """What all modes share.

    Attributes:
        max_fdr: ``Sig`` is 1 below this false discovery rate.
        min_detections: Genes perturbed in fewer cells are flagged in ``Few_detections``.
        seed: Of the background's sample.
    """

    max_fdr: float = 0.05
    min_detections: int = 10
    seed: int = 42


def default_mode(shifts: ShiftTable) -> StatisticsMode:
    """The mode that fits how shifts were measured."""
    if GOAL in shifts.values:
        return "goal_state_shift"
    return "aggregate_data" if shifts.scope == "group" else "mixture_model"


def compute_statistics(
    mode: StatisticsMode, shifts: ShiftTable, settings: StatisticsSettings, null: ShiftTable | None = None
) -> Table:
    """Compute one table.

    Args:
        mode: Which.
        shifts: The perturbations.
        settings: Thresholds and seed.
        null: Shifts of null cells, for ``vs_null`` only.

    Raises:
        ConfigError: The mode does not fit how the shifts were measured.
        DataError: There are too few of them.
    """
    if len(shifts.gene_idx) == 0:
        raise DataError(f"{mode}: there are no shifts.")
    if (null is None) == (mode == "vs_null"):
        raise ConfigError(f"{mode}: {'needs' if mode == 'vs_null' else 'takes no'} shifts of null cells.")
    if mode == "vs_null":
        assert null is not None
        return vs_null(shifts, null, settings)
    modes: dict[str, Callable[[ShiftTable, StatisticsSettings], Table]] = {
        "goal_state_shift": goal_state_shift,
        "mixture_model": mixture_model,
        "aggregate_data": aggregate_data,
    }
    return modes[mode](shifts, settings)


def goal_state_shift(shifts: ShiftTable, settings: StatisticsSettings) -> Table:
    """Shift of each gene towards the goal and alternative states against the pooled shifts of all genes.

    One group of genes has no background to compare with: its shifts are listed, cell by cell.
    """
    if GOAL not in shifts.values:
        raise ConfigError("goal_state_shift: the shifts were measured without a goal state.")
    ends = {GOAL: "goal_end"} | _alternative_ends(shifts)
    if shifts.scope == "group":
        order = np.argsort(-shifts.values[GOAL], kind="stable")
        cells: Table = {"Cell_ID": shifts.cell_ids[order]}
        return cells | {f"Shift_to_{end}": shifts.values[column][order] for column, end in ends.items()}
    table = _gene_columns(shifts.labels)
    table |= {f"Shift_to_{end}": shifts.means(column) for column, end in ends.items()}
    pvalues = {
        end: rank_sum_pvalues(
            shifts.values[column],
            shifts.gene_idx,
            _background(shifts.values[column], settings.seed),
            len(shifts.labels),
        )
        for column, end in ends.items()
    }
    table |= {f"{_capitalised(end)}_vs_random_pval": values for end, values in pvalues.items()}
    table |= {f"{_capitalised(end)}_FDR": false_discovery_rates(values) for end, values in pvalues.items()}
    table["N_Detections"] = shifts.num_detections
    _add_flags(table, table["Goal_end_FDR"], shifts.num_detections, settings)
    return _sorted(table, -table["Sig"], -table["Shift_to_goal_end"], table["Goal_end_FDR"])


def vs_null(test: ShiftTable, null: ShiftTable, settings: StatisticsSettings) -> Table:
    """Shift of each gene in test cells against the same gene in null cells."""
    values, null_values = _comparable(test, null)
    test_places, null_places = (
        {label.gene: place for place, label in enumerate(table.labels)} for table in (test, null)
    )
    labels = [label for label in test.labels if label.gene in null_places]
    if not labels:
        raise DataError("vs_null: no gene was perturbed in both the test and the null cells.")
    samples = (
        *_renumbered(values, test.gene_idx, [test_places[label.gene] for label in labels]),
        *_renumbered(null_values, null.gene_idx, [null_places[label.gene] for label in labels]),
    )
    pvalues = two_sample_pvalues(*samples, len(labels))
    counts = [np.bincount(groups, minlength=len(labels)) for groups in (samples[1], samples[3])]
    sums = [np.bincount(samples[k + 1], weights=samples[k], minlength=len(labels)) for k in (0, 2)]
    test_mean, null_mean = sums[0] / counts[0], sums[1] / counts[1]
    table = _gene_columns(labels) | {
        "Test_avg_shift": test_mean,
        "Null_avg_shift": null_mean,
        "Test_vs_null_avg_shift": test_mean - null_mean,
        "Test_vs_null_pval": pvalues,
        "Test_vs_null_FDR": false_discovery_rates(pvalues),
        "N_Detections_test": counts[0],
        "N_Detections_null": counts[1],
    }
    _add_flags(table, table["Test_vs_null_FDR"], np.minimum(*counts), settings)
    return _sorted(table, -table["Sig"], -table["Test_vs_null_avg_shift"], table["Test_vs_null_FDR"])


def mixture_model(shifts: ShiftTable, settings: StatisticsSettings) -> Table:
    """Genes whose perturbation has an impact, by a mixture of two Gaussians over the genes' mean shifts.

    With an anchor, the shift of each pair stands beside the sum of the two genes' own.
    """
    if COSINE not in shifts.values or shifts.scope == "group":
        raise ConfigError("mixture_model: needs every gene perturbed (alone or with an anchor), without a goal state.")
    values, means = shifts.values[COSINE] - 1, shifts.means(COSINE) - 1
    places = {label.gene: place for place, label in enumerate(shifts.labels)}
    tested = np.arange(len(shifts.labels))
    labels, anchor = shifts.labels, shifts.anchor
    if anchor is not None:
        prefix = anchor + SEPARATOR
        tested = np.array([place for place in tested if labels[place].gene.startswith(prefix)], dtype=np.int64)
        labels = [_without_anchor(labels[place]) for place in tested.tolist()]
    table = _gene_columns(labels)
    if anchor is not None:
        alone = np.array([means[places[label.gene]] if label.gene in places else np.nan for label in labels])
        anchor_shift = means[places[anchor]]
        table |= {
            "Anchor_shift": np.full(len(labels), anchor_shift),
            "Test_token_shift": alone,
            "Sum_of_indiv_shifts": anchor_shift + alone,
            "Combo_shift": means[tested],
            "Combo_minus_sum_shift": means[tested] - (anchor_shift + alone),
        }
    else:
        table["Test_avg_shift"] = means
    mixture = ImpactMixture(means[tested])
    table["Impact_component"] = mixture.is_impact(means[tested]).astype(np.int64)
    is_impact = mixture.is_impact(values)
    shares = np.bincount(shifts.gene_idx, weights=is_impact, minlength=len(shifts.labels)) / shifts.num_detections
    table["Impact_component_percent"] = 100 * shares[tested]
    table["N_Detections"] = shifts.num_detections[tested]
    _add_flags(table, None, table["N_Detections"], settings)
    key = table["Test_avg_shift" if anchor is None else "Combo_minus_sum_shift"]
    return _sorted(table, -table["Impact_component"], key)


def aggregate_data(shifts: ShiftTable, settings: StatisticsSettings) -> Table:
    """Shifts of one group of genes, cell by cell."""
    if shifts.scope != "group" or COSINE not in shifts.values:
        raise ConfigError("aggregate_data: lists the shifts of one group of genes, without a goal state.")
    order = np.argsort(shifts.values[COSINE], kind="stable")
    return {"Cell_ID": shifts.cell_ids[order], "Cosine_shift": shifts.values[COSINE][order] - 1}


def _alternative_ends(shifts: ShiftTable) -> dict[str, str]:
    """Column of each alternative state to its name in tables: ``alt_end`` where there is but one."""
    columns = [column for column in shifts.values if column.startswith(ALTERNATIVE)]
    if len(columns) == 1:
        return {columns[0]: "alt_end"}
    return {column: f"alt_end_{column.removeprefix(ALTERNATIVE)}" for column in columns}


def _capitalised(end: str) -> str:
    return end[0].upper() + end[1:]


def _background(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """The pooled shifts, or a sample of them."""
    if len(values) <= MAX_BACKGROUND:
        return values
    return np.random.default_rng(seed).choice(values, size=MAX_BACKGROUND, replace=False)


def _comparable(test: ShiftTable, null: ShiftTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The shifts to compare: towards the goal where there is one, else away from the unperturbed cell."""
    for column, offset in ((GOAL, 0.0), (COSINE, 1.0)):
        if column in test.values and column in null.values:
            return test.values[column] - offset, null.values[column] - offset
    raise ConfigError("vs_null: one of the two was measured with a goal state, the other without.")


def _renumbered(
    values: NDArray[np.float64], gene_idx: NDArray[np.int64], places: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Keep the rows of the genes at some places, and number these genes in the order given."""
    numbers = np.full(int(gene_idx.max()) + 1, -1, dtype=np.int64)
    numbers[places] = np.arange(len(places))
    renumbered = numbers[gene_idx]
    return values[renumbered >= 0], renumbered[renumbered >= 0]


def _without_anchor(label: GeneLabel) -> GeneLabel:
    return GeneLabel(*(text.split(SEPARATOR, 1)[1] for text in label))


def _gene_columns(labels: list[GeneLabel]) -> Table:
    return {
        "Gene": np.array([label.token for label in labels]),
        "Gene_name": np.array([label.gene_name for label in labels]),
        "Ensembl_ID": np.array([label.gene for label in labels]),
    }


def _add_flags(
    table: Table, rates: NDArray[np.float64] | None, detections: NDArray[np.int64], settings: StatisticsSettings
) -> None:
    if rates is not None:
        table["Sig"] = (rates < settings.max_fdr).astype(np.int64)
    table["Few_detections"] = (detections < settings.min_detections).astype(np.int64)


def _sorted(table: Table, *keys: NDArray[Any]) -> Table:
    """Sort the rows by the first key, then the next; equal rows keep the order of their Ensembl ids."""
    order = np.lexsort(keys[::-1])
    return {name: column[order] for name, column in table.items()}


def write_table(table: Table, path: str | os.PathLike[str]) -> None:
    """Write a table as CSV, atomically and with every digit."""
    with atomic_file(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
