# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from bionemo.core.errors import DataError
from bionemo.geneformer.data.counts import Counts, check_counts, has_repeats, sum_duplicates


ROWS = np.array([40, 17])


def counts(values, columns=(0, 2, 1), row_ptr=(0, 1, 3)):
    return Counts(np.array(values), np.array(columns, np.int32), np.array(row_ptr))


@pytest.mark.parametrize(
    "values",
    [np.uint16([1, 2, 3]), np.int32([0, 2, 3]), [1.0, 2.0, 3e9], np.float32([1, 2, 3]), np.float16([1, 2, 3])],
)
def test_counts_of_any_type_pass(values):
    check_counts(counts(values), ROWS, "data")
    check_counts(counts([], columns=(), row_ptr=(0, 0, 0)), ROWS, "data")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, -2.0, 3.0], "data: cell 17 has the value -2. Raw counts are not negative"),
        (np.int64([-1, 2, 3]), "data: cell 40 has the value -1"),
        ([1.0, 2.0, np.nan], "data: cell 17 has the value nan. Every stored count must be a number"),
        ([np.inf, 2.0, 3.0], "data: cell 40 has the value inf"),
        (
            [1.0, 2.5, 3.0],
            "cell 17 has the value 2.5: the data look log-normalized.*--counts-layer.*--allow-fractional-counts",
        ),
        (np.float32([22.5, 2.0, 3.0]), "cell 40 has the value 22.5: the data look normalized"),
    ],
)
def test_what_is_no_count_is_refused_with_the_cell_and_a_hint(values, message):
    with pytest.raises(DataError, match=message):
        check_counts(counts(values), ROWS, "data")


def test_fractions_pass_on_request_but_nothing_else():
    check_counts(counts([0.5, 2.5, 3.0]), ROWS, "data", allow_fractions=True)
    for wrong in ([0.5, -2.5, 3.0], [0.5, np.nan, 3.0], [0.5, np.inf, 1.0]):
        with pytest.raises(DataError):
            check_counts(counts(wrong), ROWS, "data", allow_fractions=True)


def test_columns_of_a_gene_are_added_and_counts_conserved():
    rng = np.random.default_rng(0)
    dense = rng.poisson(1.0, (50, 30)).astype(np.float32)
    gene_idx = rng.integers(-1, 12, 30).astype(np.int32)
    rows, columns = np.nonzero(dense)
    found = Counts(
        dense[rows, columns],
        columns.astype(np.int32),
        np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=50))]),
    )
    summed = sum_duplicates(found, gene_idx, 12)
    expected = np.zeros((50, 12))
    for column, gene in enumerate(gene_idx):
        if gene >= 0:
            expected[:, gene] += dense[:, column]
    again = np.zeros((50, 12))
    again[np.repeat(np.arange(50), np.diff(summed.row_ptr)), summed.columns] = summed.values
    np.testing.assert_array_equal(again, expected)
    assert summed.values.sum() == dense[:, gene_idx >= 0].sum()


@pytest.mark.parametrize(
    ("columns", "row_ptr", "expected"),
    [
        ([0, 1, 2], [0, 3], False),
        ([5, 0, 1], [0, 1, 3], False),
        ([0, 0, 1], [0, 1, 3], False),
        ([0, 0, 1], [0, 3], True),
        ([1, 0, 2], [0, 3], True),
        ([0, 1, 1], [0, 0, 3, 3, 3], True),
        ([0, 1, 1], [0, 0, 2, 2, 3], False),
        ([], [0, 0, 0], False),
        ([3], [0, 0, 1], False),
    ],
)
def test_ascending_columns_hold_no_column_twice(columns, row_ptr, expected):
    assert has_repeats(Counts(np.ones(len(columns)), np.array(columns, np.int32), np.array(row_ptr))) is expected
