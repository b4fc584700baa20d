# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest


def published_tokens(counts, gene_ids, token_dictionary, medians, *, max_genes, all_genes=True):
    """The published algorithm for one cell, gene by gene in float64: the oracle of the vectorised one.

    Returns the tokens in order, and the value of every expressed gene of the vocabulary by its token.
    """
    total = sum(float(c) for c, gene in zip(counts, gene_ids, strict=True) if all_genes or gene in token_dictionary)
    summed = {}
    for count, gene in zip(counts, gene_ids, strict=True):
        if gene in token_dictionary and gene in medians and count != 0:
            summed[gene] = summed.get(gene, 0.0) + float(count)
    values = {token_dictionary[gene]: count / total * 10_000.0 / medians[gene] for gene, count in summed.items()}
    ranked = sorted(values, key=lambda token: (-values[token], token))
    return ranked[:max_genes], values


def assert_equal_to_published(tokens, counts, gene_ids, token_dictionary, medians, *, max_genes, all_genes=True):
    """Equal but for genes whose values agree to 1e-6, and which of those survive the cut."""
    expected, values = published_tokens(
        counts, gene_ids, token_dictionary, medians, max_genes=max_genes, all_genes=all_genes
    )
    assert len(tokens) == len(set(tokens)) == len(expected)
    for ours, theirs in zip(tokens, expected, strict=True):
        assert values[ours] == pytest.approx(values[theirs], rel=1e-6)
    left_out = set(values) - set(tokens)
    if left_out:
        assert max(values[token] for token in left_out) <= min(values[token] for token in tokens) * (1 + 1e-6)
    return int(np.sum([ours == theirs for ours, theirs in zip(tokens, expected, strict=True)]))


@pytest.fixture
def check_cell():
    return assert_equal_to_published
