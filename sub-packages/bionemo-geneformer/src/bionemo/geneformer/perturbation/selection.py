# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Which cells are perturbed, which states they are measured against, and how the work is divided.

Letters: C cells of the data, S selected ones.
"""

import logging
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bionemo.core.config_fields import closest
from bionemo.core.errors import ConfigError, DataError
from bionemo.core.randomness import Stream, rng_for
from bionemo.geneformer.data.open_cells import Cells
from bionemo.geneformer.data.tokenized_cells import TokenizedCells
from bionemo.geneformer.perturbation.edits import Perturbation


logger = logging.getLogger(__name__)

_CELLS_PER_READ = 4096


@dataclass(frozen=True, kw_only=True)
class CellStates:
    """States of cells, told by a column of ``obs``.

    Attributes:
        key: The column.
        start: Cells of this state are perturbed.
        goal: State that they may move to.
        alternatives: Other states that they may move to.
    """

    key: str
    start: str
    goal: str
    alternatives: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = (self.start, self.goal, *self.alternatives)
        if len(set(names)) < len(names):
            raise ConfigError(f"states of {self.key!r}: one is named twice among {', '.join(names)}.")

    @property
    def columns(self) -> dict[str, str]:
        """Column of shifts to the state that it is about."""
        alternatives = {f"shift_to_alt_{name}": name for name in self.alternatives}
        return {"shift_to_start": self.start, "shift_to_goal": self.goal, **alternatives}


def split_values(text: str, known: Container[str]) -> list[str]:
    """Split a list of values at its commas, but not at those inside a value.

    Args:
        text: Values with commas between.
        known: Values that there are, some with commas of their own; the longest is taken first.

    >>> split_values("B cell,CD4-positive, alpha-beta T cell", {"B cell", "CD4-positive, alpha-beta T cell"})
    ['B cell', 'CD4-positive, alpha-beta T cell']
    """
    pieces, values = text.split(","), []
    while pieces:
        ends = (end for end in range(len(pieces), 0, -1) if ",".join(pieces[:end]) in known)
        end = next(ends, 1)
        values.append(",".join(pieces[:end]))
        del pieces[:end]
    return values


def cells_with_values(
    cells: Cells, conditions: Mapping[str, Sequence[str]], *, split: bool = False
) -> NDArray[np.int64]:
    """Cells that have, in each of some columns, one of the values wanted.

    Args:
        cells: The cells.
        conditions: Column to values.
        split: Whether each value may be several with commas between; see `split_values`.

    Raises:
        DataError: A column or a value is not there, or no cell has them all.
    """
    keep = np.ones(len(cells.tokens), dtype=bool)
    for key, wanted in conditions.items():
        values = cells.texts(key)
        known = sorted({*values.tolist()} - {""})
        wanted = [value for text in wanted for value in split_values(text, known)] if split else wanted
        for value in wanted:
            if value not in known:
                shown = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
                raise DataError(
                    f"{cells.name}: no cell has {key!r} {value!r}.{closest(value, known)} There are: {shown}."
                )
        keep &= np.isin(values, list(wanted))
    if not keep.any():
        text = " and ".join(f"{key} {'/'.join(values)}" for key, values in conditions.items())
        raise DataError(f"{cells.name}: no cell has {text}.")
    return np.flatnonzero(keep)


def cells_of_states(cells: Cells, states: CellStates, among: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Cells of each state, among some.

    Raises:
        DataError: The column is not there, or a state has no cell.
    """
    groups = {}
    for state in states.columns.values():
        group = np.intersect1d(cells_with_values(cells, {states.key: [state]}), among)
        if len(group) == 0:
            raise DataError(f"{cells.name}: no cell of {states.key!r} {state!r} is left by the filter.")
        groups[state] = group
    return groups


def cells_to_perturb(
    cells: Cells,
    among: NDArray[np.int64],
    perturbation: Perturbation,
    *,
    num_specials: int,
    max_cells: int | None,
    seed: int,
    gene_names: Callable[[int], str] = str,
) -> NDArray[np.int64]:
    """Cells that can be perturbed: they hold what is needed, and a gene beside.

    Args:
        cells: The data.
        among: [S] cells to choose from.
        perturbation: What is to be done.
        num_specials: Special tokens of each cell.
        max_cells: Number to draw at random; None takes all.
        seed: Of the draw.
        gene_names: How messages call a token.

    Returns:
        The cells in the order of the data.

    Raises:
        DataError: No cell can be perturbed.
    """
    required = perturbation.required_tokens
    holds = np.concatenate(
        [
            _holds_tokens(cells.tokens, among[first : first + _CELLS_PER_READ], required)
            for first in range(0, len(among), _CELLS_PER_READ)
        ]
    )
    for token, found in zip(required, holds.T, strict=True):
        if not found.any():
            raise DataError(f"{cells.name}: gene {gene_names(token)} is in none of the {len(among)} cells.")
    lengths = cells.tokens.lengths[among] - num_specials
    needed = max(len(required) if perturbation.perturb_type == "delete" else 0, 1)
    usable = holds.all(axis=1) & (lengths > needed if perturbation.perturb_type == "delete" else lengths >= needed)
    selected = among[usable]
    if len(selected) == 0:
        genes = " with ".join(gene_names(token) for token in required) or "two genes or more"
        raise DataError(f"{cells.name}: none of the {len(among)} cells has {genes} and another gene to compare.")
    if max_cells is not None and max_cells < len(selected):
        drawn = rng_for(seed, Stream.SHUFFLE).permutation(len(selected))[:max_cells]
        selected = selected[np.sort(drawn)]
    logger.info("%d of %d cells are perturbed", len(selected), len(among))
    return selected


def partitions_by_cost(
    cells: TokenizedCells, selected: NDArray[np.int64], perturbation: Perturbation, max_tokens: int
) -> list[NDArray[np.int64]]:
    """Cut the selected cells into consecutive partitions of about `max_tokens` computed tokens; cells stay whole.

    The partitions do not depend on the number of ranks, so that a run can be resumed on another number.
    """
    ends, total = [], 0
    for place, cost in enumerate(costs_of_cells(cells, selected, perturbation).tolist()):
        total += cost
        if total >= max_tokens:
            ends.append(place + 1)
            total = 0
    return [part for part in np.split(selected, ends) if len(part)]


def costs_of_cells(
    cells: TokenizedCells, selected: NDArray[np.int64], perturbation: Perturbation
) -> NDArray[np.int64]:
    """Tokens that go through the model for each selected cell, about: [S] int64."""
    lengths = cells.lengths[selected]
    edits = np.ones_like(lengths) if perturbation.genes is not None else lengths
    costs: NDArray[np.int64] = lengths * (1 + edits * (1 if perturbation.anchor is None else 2))
    return costs


def _holds_tokens(cells: TokenizedCells, indices: NDArray[np.int64], required: tuple[int, ...]) -> NDArray[np.bool_]:
    """[S, K] bool, which cells hold which tokens."""
    if not required:
        return np.ones((len(indices), 0), dtype=bool)
    tokens, lengths = cells.read(indices)
    cell_of = np.repeat(np.arange(len(indices)), lengths)
    holds = [np.bincount(cell_of[tokens == token], minlength=len(indices)) > 0 for token in required]
    return np.stack(holds, axis=1)
