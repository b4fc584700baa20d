# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bionemo.core.errors import ConfigError, DataError
from bionemo.geneformer.data.open_cells import Cells
from bionemo.geneformer.data.tokenized_cells import TokenLists
from bionemo.geneformer.perturbation.edits import Perturbation
from bionemo.geneformer.perturbation.job import parse_conditions
from bionemo.geneformer.perturbation.selection import (
    CellStates,
    cells_of_states,
    cells_to_perturb,
    cells_with_values,
    partitions_by_cost,
)


TOKENS = TokenLists.from_lists([[9, 5, 6, 7], [9, 5], [9, 6, 5], [9], [9, 7, 6]])  # 9 is a special token
OBS = {"state": ["sick", "sick", "well", "sick", "fair"], "batch": [1, 2, 1, 1, 1]}
ALL = np.arange(5)
DELETE, OVEREXPRESS = (Perturbation(perturb_type=kind) for kind in ("delete", "overexpress"))  # type: ignore[arg-type]


CELLS = Cells(TOKENS, lambda: pd.DataFrame(OBS))


def chosen(perturbation: Perturbation, **rest: Any) -> list[int]:
    settings = {"num_specials": 1, "max_cells": None, "seed": 42} | rest
    return cells_to_perturb(CELLS, ALL, perturbation, **settings).tolist()


def test_cells_by_their_columns() -> None:
    assert cells_with_values(CELLS, {}).tolist() == [0, 1, 2, 3, 4]
    assert cells_with_values(CELLS, {"state": ["sick", "fair"], "batch": ["1"]}).tolist() == [0, 3, 4]


def test_values_with_commas() -> None:
    kinds = ["CD4-positive, alpha-beta T cell", "B cell", "alpha-beta T cell", "CD4-positive", "CD4-positive"]
    cells = Cells(TOKENS, lambda: pd.DataFrame({"kind": kinds}))

    def chosen_by(*texts: str) -> list[int]:
        return cells_with_values(cells, parse_conditions(texts), split=True).tolist()

    assert chosen_by("kind=CD4-positive, alpha-beta T cell") == [0]
    assert chosen_by("kind=B cell,CD4-positive, alpha-beta T cell,CD4-positive") == [0, 1, 3, 4]
    assert chosen_by("kind=CD4-positive", "kind=B cell") == [1, 3, 4]
    assert chosen_by("kind=CD4-positive,alpha-beta T cell") == [2, 3, 4]
    with pytest.raises(DataError, match="no cell has 'kind' 'C cell'"):
        chosen_by("kind=B cell,C cell")
    with pytest.raises(DataError, match="no cell has 'kind' 'B cell,CD4-positive'"):  # a state is one value
        cells_with_values(cells, {"kind": ["B cell,CD4-positive"]})


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"stat": ["sick"]}, "cells: no obs column 'stat', found ['state', 'batch']."),
        ({"state": ["sic"]}, "cells: no cell has 'state' 'sic'. Did you mean sick? There are: fair, sick, well."),
        ({"state": ["well"], "batch": ["2"]}, "cells: no cell has state well and batch 2."),
    ],
)
def test_what_no_cell_has_is_named(conditions: dict[str, list[str]], message: str) -> None:
    with pytest.raises(DataError) as caught:
        cells_with_values(CELLS, conditions)
    assert str(caught.value) == message


def test_states_keep_their_cells_apart() -> None:
    states = CellStates(key="state", start="sick", goal="well", alternatives=("fair",))
    assert states.columns == {"shift_to_start": "sick", "shift_to_goal": "well", "shift_to_alt_fair": "fair"}
    groups = cells_of_states(CELLS, states, np.array([0, 1, 2, 4]))
    assert {name: group.tolist() for name, group in groups.items()} == {"sick": [0, 1], "well": [2], "fair": [4]}
    with pytest.raises(DataError, match="no cell of 'state' 'fair' is left by the filter"):
        cells_of_states(CELLS, states, np.array([0, 2]))
    with pytest.raises(ConfigError, match="states of 'state': one is named twice among a, a"):
        CellStates(key="state", start="a", goal="a")


def test_cells_hold_what_is_perturbed_and_a_gene_beside() -> None:
    assert chosen(DELETE) == [0, 2, 4]
    assert chosen(OVEREXPRESS) == [0, 1, 2, 4]
    assert chosen(Perturbation(perturb_type="delete", genes=(5,))) == [0, 2]
    assert chosen(Perturbation(perturb_type="delete", genes=(6, 5))) == [0]
    assert chosen(Perturbation(perturb_type="inhibit", rank_shift=1, genes=(6, 5))) == [0, 2]
    assert chosen(Perturbation(perturb_type="overexpress", genes=(5, 6))) == [0, 1, 2, 4]
    assert chosen(Perturbation(perturb_type="delete", anchor=7)) == [0, 4]
    assert chosen(Perturbation(perturb_type="overexpress", anchor=7)) == [0, 1, 2, 4]


def test_a_seeded_draw_keeps_the_order() -> None:
    draws = [chosen(DELETE, max_cells=2, seed=seed) for seed in range(8)]
    assert all(len(draw) == 2 and draw == sorted(draw) for draw in draws)
    assert draws == [chosen(DELETE, max_cells=2, seed=seed) for seed in range(8)]
    assert len({tuple(draw) for draw in draws}) > 1
    assert chosen(DELETE, max_cells=99) == [0, 2, 4]


def test_genes_that_no_cell_has_are_named() -> None:
    with pytest.raises(DataError, match=r"cells: gene GENE8 is in none of the 5 cells."):
        chosen(Perturbation(perturb_type="delete", genes=(5, 8)), gene_names=lambda token: f"GENE{token}")
    with pytest.raises(DataError, match="none of the 5 cells has 5 with 6 with 7 and another gene to compare"):
        chosen(Perturbation(perturb_type="delete", genes=(5, 6, 7)))
    with pytest.raises(DataError, match="none of the 1 cells has two genes or more and another gene"):
        cells_to_perturb(CELLS, np.array([3]), DELETE, num_specials=1, max_cells=None, seed=1)


def test_partitions_hold_about_as_much_work_and_every_cell_once() -> None:
    tokens = TokenLists.from_lists([[5] * length for length in (10, 10, 10, 30, 2, 2, 2)])
    selected = np.array([0, 1, 2, 3, 4, 6])
    # Every gene: 110 tokens for a cell of ten genes, 930 for one of thirty.
    parts = partitions_by_cost(tokens, selected, DELETE, 200)
    assert [part.tolist() for part in parts] == [[0, 1], [2, 3], [4, 6]]
    group = Perturbation(perturb_type="delete", genes=(5,))
    assert [part.tolist() for part in partitions_by_cost(tokens, selected, group, 60)] == [[0, 1, 2], [3], [4, 6]]
    assert partitions_by_cost(tokens, selected[:0], group, 60) == []
