# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bionemo.core.errors import DataError
from bionemo.geneformer.data.medians import GeneValues, find_medians


def blocks_of(genes, values, size):
    def read():
        for start in range(0, len(genes), size):
            yield GeneValues(genes[start : start + size], values[start : start + size])

    return read


def check(genes, values, num_genes, max_values, size=1000):
    genes, values = np.asarray(genes, np.int32), np.asarray(values, np.float64)
    found = find_medians(blocks_of(genes, values, size), num_genes, max_values=max_values)
    for gene in range(num_genes):
        mine = values[genes == gene]
        assert found.num_cells[gene] == len(mine)
        expected = np.median(mine) if len(mine) else np.nan
        np.testing.assert_array_equal(found.medians[gene], expected)  # to the last bit
    return found.num_passes


@pytest.mark.parametrize("max_values", [10**9, 60_000, 15_000, 4_000])
def test_medians_are_numpys_to_the_last_bit(max_values):
    rng = np.random.default_rng(0)
    genes = rng.choice(12, 100_000, p=rng.dirichlet(np.ones(12)))
    values = rng.lognormal(0, 2, 100_000)
    passes = check(genes, values, 13, max_values)
    assert passes == 1 if max_values == 10**9 else 2 <= passes <= 6


def test_many_equal_values_and_few_of_others():
    rng = np.random.default_rng(1)
    values = np.where(rng.random(50_000) < 0.9, 2.0, rng.lognormal(0, 1, 50_000))
    genes = rng.integers(0, 5, 50_000)
    genes[:2], genes[2:5] = 5, 6  # two cells and three
    check(genes, values, 7, 500)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.5, 1.0, 1.5, 2.0, 7.25, 1e-9, 1e9])), max_size=300),
    st.integers(1, 200),
    st.integers(1, 50),
)
@settings(max_examples=60, deadline=None)
def test_any_values_any_memory_any_blocks(pairs, max_values, size):
    check([gene for gene, _ in pairs], [value for _, value in pairs], 5, max_values, size)


def test_bounds_that_missed_the_middle_are_taken_back(monkeypatch):
    from bionemo.geneformer.data import medians

    rng = np.random.default_rng(2)
    narrow, calls = medians._Search._narrow, []

    def miss_first(self, gene, kept, first_share, last_share):
        narrow(self, gene, kept, first_share, last_share)
        calls.append(gene)
        if len(calls) <= 3:  # as an unlucky sample would
            self.low[gene], self.high[gene] = kept[-2], kept[-1]

    monkeypatch.setattr(medians._Search, "_narrow", miss_first)
    check(rng.integers(0, 3, 20_000), rng.lognormal(0, 1, 20_000), 3, 2_000)
    assert len(calls) > 3


def test_a_corpus_that_changes_between_passes_is_noticed():
    rng = np.random.default_rng(3)
    genes, values = np.zeros(5000, np.int32), rng.lognormal(0, 1, 5000)
    lengths = iter([5000, 4999, 5000])

    def read():
        length = next(lengths)
        yield GeneValues(genes[:length], values[:length])

    with pytest.raises(DataError, match="The corpus changed while it was read"):
        find_medians(read, 1, max_values=1000)
