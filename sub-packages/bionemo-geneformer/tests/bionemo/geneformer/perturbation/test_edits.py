# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bionemo.core.errors import ConfigError
from bionemo.geneformer.perturbation.edits import Edit, Perturbation, PerturbType, cell_edits, edit_cell, target_place


CELL = np.array([50, 40, 30, 20, 10])


def edited(perturb_type: str, *tokens: int, cell: np.ndarray = CELL, **rest: int) -> Edit:
    return edit_cell(cell, tokens, perturb_type, max_genes=rest.pop("max_genes", 8), **rest)  # type: ignore[arg-type]


def lists(perturbation: Perturbation, cell: np.ndarray = CELL, max_genes: int = 8) -> dict[tuple[int, ...], list[int]]:
    blocks = list(cell_edits(cell, perturbation, max_genes))
    return {
        perturbed: tokens
        for block in blocks
        for perturbed, tokens in zip(block.perturbed, block.tokens(cell).tolist(), strict=True)
    }


def reference(cell: list[int], tokens: list[int], kind: str, shift: int | None, max_genes: int) -> list[int]:
    """The definitions word by word on Python lists; one gene for inhibit and activate."""
    if kind == "delete":
        return [gene for gene in cell if gene not in tokens]
    if kind == "overexpress":
        return (tokens + [gene for gene in cell if gene not in tokens])[:max_genes]
    (token,) = tokens
    assert shift is not None
    quartile = next(q for q in range(4) if q / 4 <= cell.index(token) / len(cell) < (q + 1) / 4)
    quartile += shift if kind == "inhibit" else -shift
    rest = [gene for gene in cell if gene != token]
    middle = int((quartile + 0.5) * len(cell) / 4)
    place = 0 if quartile < 0 else len(rest) if quartile > 3 else middle
    return [*rest[:place], token, *rest[place:]]


def test_deleted_genes_are_gone_from_both_sides() -> None:
    edit = edited("delete", 20, 50)
    assert edit.tokens(CELL).tolist() == [40, 30, 10]
    assert edit.sources.tolist() == [1, 2, 4]
    assert edit.compared.tolist() == [True, True, True]
    assert edit.overflow == 0


def test_overexpressed_genes_come_first_in_the_order_given() -> None:
    edit = edited("overexpress", 20, 99, 50)
    assert edit.tokens(CELL).tolist() == [20, 99, 50, 40, 30, 10]
    assert edit.sources.tolist() == [3, -2, 0, 1, 2, 4]
    assert edit.compared.tolist() == [False, False, False, True, True, True]


def test_what_finds_no_room_is_left_out_of_both_lists() -> None:
    edit = edited("overexpress", 99, 98, cell=CELL, max_genes=6)
    assert edit.tokens(CELL).tolist() == [99, 98, 50, 40, 30, 20]
    assert edit.overflow == 1
    assert edit.compared.tolist() == [False, False, True, True, True, True]
    # 10 is perturbed and stands in the part that the unperturbed cell loses: 20 has no counterpart on the other side.
    edit = edited("overexpress", 99, 10, cell=CELL, max_genes=5)
    assert edit.tokens(CELL).tolist() == [99, 10, 50, 40, 30]
    assert (edit.overflow, edit.compared.tolist()) == (1, [False, False, True, True, True])


@pytest.mark.parametrize(
    ("kind", "shift", "expected"),
    [
        # Eight genes, two a quartile; the middles of the quartiles are the places 1, 3, 5 and 7.
        ("inhibit", 1, [1, 2, 3, 0, 4, 5, 6, 7]),
        ("inhibit", 3, [1, 2, 3, 4, 5, 6, 7, 0]),
        ("activate", 1, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_gene_moves_to_the_middle_of_a_quartile(kind: str, shift: int, expected: list[int]) -> None:
    cell = np.arange(8)
    assert edited(kind, 0, cell=cell, rank_shift=shift).tokens(cell).tolist() == expected


def test_quartiles_and_their_ends() -> None:
    assert [target_place(place, 8, 1) for place in range(8)] == [3, 3, 5, 5, 7, 7, 7, 7]
    assert [target_place(place, 8, -1) for place in range(8)] == [0, 0, 1, 1, 3, 3, 5, 5]
    assert [target_place(place, 5, 2) for place in range(5)] == [3, 3, 4, 4, 4]
    assert target_place(0, 1, 1) == target_place(0, 1, -3) == 0


def test_genes_that_meet_keep_their_order() -> None:
    cell = np.arange(8)
    assert edited("inhibit", 0, 1, cell=cell, rank_shift=1).tokens(cell).tolist() == [2, 3, 4, 0, 1, 5, 6, 7]
    assert edited("inhibit", 5, 7, 6, cell=cell, rank_shift=2).tokens(cell).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert edited("activate", 1, 0, 2, cell=cell, rank_shift=3).tokens(cell).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert edited("activate", 7, 2, cell=cell, rank_shift=2).tokens(cell).tolist() == [2, 0, 1, 7, 3, 4, 5, 6]


def test_every_gene_in_turn() -> None:
    assert lists(Perturbation(perturb_type="delete")) == {
        (50,): [40, 30, 20, 10],
        (40,): [50, 30, 20, 10],
        (30,): [50, 40, 20, 10],
        (20,): [50, 40, 30, 10],
        (10,): [50, 40, 30, 20],
    }
    overexpressed = lists(Perturbation(perturb_type="overexpress"), max_genes=5)
    assert list(overexpressed) == [(40,), (30,), (20,), (10,)]  # 50 is in front already
    assert overexpressed[(20,)] == [20, 50, 40, 30, 10]
    assert (10,) not in lists(Perturbation(perturb_type="inhibit", rank_shift=3))  # and 10 at the end


@pytest.mark.parametrize(
    ("kind", "shift"), [("delete", None), ("overexpress", None), ("inhibit", 1), ("inhibit", 3), ("activate", 2)]
)
@pytest.mark.parametrize("num_genes", [1, 2, 9, 150])
def test_genes_perturbed_in_turn_are_laid_out_together_as_one_by_one(
    kind: PerturbType, shift: int | None, num_genes: int
) -> None:
    cell = np.random.default_rng(num_genes).permutation(num_genes) + 10
    one_by_one = [edit_cell(cell, (token,), kind, max_genes=num_genes, rank_shift=shift) for token in cell.tolist()]
    expected = [
        edit for edit in one_by_one if edit.compared.any() and not np.array_equal(edit.sources, np.arange(num_genes))
    ]
    blocks = list(cell_edits(cell, Perturbation(perturb_type=kind, rank_shift=shift), num_genes))
    assert [perturbed for block in blocks for perturbed in block.perturbed] == [edit.perturbed for edit in expected]
    assert {block.overflow for block in blocks} <= {0}
    for name in ("sources", "compared"):
        rows = [row for block in blocks for row in getattr(block, name)]
        for row, edit in zip(rows, expected, strict=True):
            np.testing.assert_array_equal(row, getattr(edit, name))


def test_pairs_with_an_anchor_come_with_both_genes_alone() -> None:
    assert lists(Perturbation(perturb_type="delete", anchor=30), CELL[:3]) == {
        (30,): [50, 40],
        (50,): [40, 30],
        (30, 50): [40],
        (40,): [50, 30],
        (30, 40): [50],
    }
    inserted = lists(Perturbation(perturb_type="overexpress", anchor=99), CELL[:2])
    assert inserted == {(99,): [99, 50, 40], (99, 50): [99, 50, 40], (40,): [40, 50], (99, 40): [99, 40, 50]}


def test_an_edit_that_leaves_nothing_to_compare_is_left_out() -> None:
    assert lists(Perturbation(perturb_type="delete"), CELL[:1]) == {}
    assert lists(Perturbation(perturb_type="delete", genes=(50, 40)), CELL[:2]) == {}
    assert lists(Perturbation(perturb_type="delete", anchor=50), CELL[:1]) == {}


def test_no_gene_at_all_leaves_the_cell_as_it_is() -> None:
    for kind in ("delete", "overexpress"):
        edit = edited(kind)
        assert edit.tokens(CELL).tolist() == CELL.tolist()
        assert edit.compared.all()


@settings(max_examples=200, deadline=None)
@given(
    num_genes=st.integers(2, 40),
    pick=st.integers(0, 39),
    kind=st.sampled_from(["delete", "overexpress", "inhibit", "activate"]),
    shift=st.integers(1, 3),
    absent=st.booleans(),
    room=st.integers(0, 3),
)
def test_equal_to_the_definitions_on_lists(
    num_genes: int, pick: int, kind: str, shift: int, absent: bool, room: int
) -> None:
    cell = np.random.default_rng(num_genes).permutation(100)[:num_genes] + 2
    token = 500 if absent and kind == "overexpress" else int(cell[pick % num_genes])
    rank_shift = shift if kind in ("inhibit", "activate") else None
    edit = edit_cell(cell, (token,), kind, max_genes=num_genes + room, rank_shift=rank_shift)  # type: ignore[arg-type]
    result = edit.tokens(cell).tolist()
    assert result == reference(cell.tolist(), [token], kind, rank_shift, num_genes + room)
    unperturbed = cell[: num_genes - edit.overflow].tolist()
    both = [gene for gene in result if gene in unperturbed and gene != token]
    assert np.array(result)[edit.compared].tolist() == both
    assert cell[edit.sources[edit.compared]].tolist() == both


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"perturb_type": "inhibit"}, "rank_shift: inhibit needs 1, 2 or 3 quartiles, found None."),
        ({"perturb_type": "activate", "rank_shift": 4}, "rank_shift: activate needs 1, 2 or 3 quartiles, found 4."),
        ({"perturb_type": "delete", "rank_shift": 1}, "rank_shift: belongs to inhibit and activate, not to delete."),
        ({"perturb_type": "delete", "genes": (1, 1)}, "genes: one is named twice."),
        (
            {"perturb_type": "delete", "genes": (1,), "anchor": 2},
            "anchor: pairs it with every other gene of a cell; leave out the group of genes.",
        ),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Perturbation(**settings)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_a_gene_that_the_cell_lacks_cannot_be_deleted() -> None:
    with pytest.raises(ConfigError, match="delete: the cell does not hold gene token 99"):
        edited("delete", 50, 99)
