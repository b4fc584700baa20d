# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array

from bionemo.core.errors import ConfigError
from bionemo.geneformer.data.counts import Counts
from bionemo.geneformer.data.gene_mapping import GeneTable
from bionemo.geneformer.data.rank_encoding import RankEncoder
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import BIONEMO, V1, V2


NUM_GENES = 400
GENES = [f"ENSG{i:011d}" for i in range(NUM_GENES)]
MEDIANS = dict(zip(GENES, np.random.default_rng(5).lognormal(1, 1.5, NUM_GENES).tolist(), strict=True))


def table(genes):
    return GeneTable(genes, "ensembl_id", [g for g in genes if g is None], 0)


def as_counts(dense):
    matrix = csr_matrix(dense)
    return Counts(matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int64))


def random_counts(num_cells, num_genes, seed, density=0.4):
    rng = np.random.default_rng(seed)
    dense = rng.poisson(rng.lognormal(0, 1.5, (num_cells, num_genes))) * (rng.random((num_cells, num_genes)) < density)
    return dense.astype(np.float32)


def split(encoded):
    bounds = np.concatenate([[0], np.cumsum(encoded.lengths)]).tolist()
    return [encoded.tokens[a:b].tolist() for a, b in pairwise(bounds)]


def build(variant, genes=GENES, **options):
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, {}, variant=variant)
    return RankEncoder(tokenizer, MEDIANS, [table(genes)], **options)


def without_frame(variant, tokens):
    first, last = variant.cls_token is not None, variant.eos_token is not None
    return tokens[first : len(tokens) - last]


@pytest.mark.parametrize("variant", [V1, V2, BIONEMO], ids=lambda variant: variant.name)
@pytest.mark.parametrize("max_length", [None, 60])
def test_equal_to_the_published_algorithm(variant, max_length, check_cell):
    encoder = build(variant, max_length=max_length)
    dense = random_counts(150, NUM_GENES, seed=1)
    cells = split(encoder.encode(as_counts(dense)))
    same = 0
    for cell, tokens in zip(dense, cells, strict=True):
        genes = without_frame(variant, tokens)
        same += check_cell(
            genes,
            cell,
            GENES,
            encoder.tokenizer.vocab,
            MEDIANS,
            max_genes=encoder.max_genes,
            all_genes=variant.normalize_by_all_genes,
        )
    assert same > 0.999 * sum(len(without_frame(variant, tokens)) for tokens in cells)
    assert max(map(len, cells)) <= encoder.max_length
    assert {tokens[0] for tokens in cells} == {encoder.tokenizer.class_id} or variant is V1
    assert {tokens[-1] for tokens in cells} == {encoder.tokenizer.eos_id} or variant is not V2


def test_a_cell_by_hand():
    medians = {"A": 1.0, "B": 2.0, "C": 4.0, "D": 1.0}
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(medians, {}, variant=V2)
    encoder = RankEncoder(tokenizer, medians, [table(["C", "A", None, "B", "D"])])
    # Values 8/4, 1/1, left out, 2/2, 0: A and B tie and come in the order of their tokens (4 and 5), C is 6.
    assert split(encoder.encode(as_counts([[8, 1, 99, 2, 0], [0, 0, 7, 0, 0]]))) == [[2, 6, 4, 5, 3], [2, 3]]


def test_ties_come_in_the_order_of_the_tokens():
    medians = dict.fromkeys(GENES, 3.0)
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(medians, {}, variant=V1)
    order = np.random.default_rng(2).permutation(NUM_GENES)
    encoder = RankEncoder(tokenizer, medians, [table([GENES[i] for i in order])])
    tokens = split(encoder.encode(as_counts(np.ones((1, NUM_GENES)))))[0]
    assert tokens == list(range(2, NUM_GENES + 2))


def test_columns_of_one_gene_are_summed_and_unknown_ones_left_out(check_cell):
    rng = np.random.default_rng(3)
    genes = [
        GENES[i] if keep else None for i, keep in zip(rng.integers(0, 90, 200), rng.random(200) < 0.8, strict=True)
    ]
    encoder = build(V2, genes)
    dense = random_counts(60, 200, seed=4)
    for cell, tokens in zip(dense, split(encoder.encode(as_counts(dense))), strict=True):
        check_cell(tokens[1:-1], cell, genes, encoder.tokenizer.vocab, MEDIANS, max_genes=4094)


def test_entries_in_any_order_stored_twice_or_zero_count_once():
    encoder = build(V1)
    plain = split(encoder.encode(as_counts([[0] * 5 + [7, 3] + [0] * 390 + [6, 1, 2]])))
    odd = Counts(
        np.array([2, 4, 0, 3, 7, 2, 1], dtype=np.float32),
        np.array([399, 397, 8, 6, 5, 397, 398], dtype=np.int32),
        np.array([0, 7]),
    )
    assert split(encoder.encode(odd)) == plain
    with_zero = Counts(np.array([0, 5, 1], np.float32), np.array([0, 1, 2], np.int32), np.array([0, 3]))
    assert sorted(split(encoder.encode(with_zero))[0]) == [3, 4]


def test_genes_without_a_median_are_left_out():
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, {}, variant=V1)
    fewer = {gene: MEDIANS[gene] for gene in GENES[:300]}
    encoder = RankEncoder(tokenizer, fewer, [table(GENES)])
    assert sorted(split(encoder.encode(as_counts(np.ones((1, NUM_GENES)))))[0]) == list(range(2, 302))


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint16", "uint8", "float32"])
def test_every_dtype_of_counts_gives_the_same(dtype):
    dense = random_counts(20, NUM_GENES, seed=6).clip(0, 255)
    encoder = build(BIONEMO)
    assert split(encoder.encode(as_counts(dense.astype(dtype)))) == split(encoder.encode(as_counts(dense)))


def test_empty_cells_and_lengths_without_ranking():
    encoder = build(V2, max_length=50)
    dense = random_counts(300, NUM_GENES, seed=7)
    dense[[0, 1, 17, 298, 299]] = 0
    counts = as_counts(dense)
    encoded = encoder.encode(counts)
    np.testing.assert_array_equal(encoder.count_tokens(counts), encoded.lengths)
    assert np.flatnonzero(encoded.lengths == 2).tolist() == [0, 1, 17, 298, 299]
    none = Counts(np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(4, np.int64))
    assert split(encoder.encode(none)) == [[2, 3]] * 3
    assert split(build(V1).encode(none)) == [[]] * 3
    nothing = Counts(np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(1, np.int64))
    assert split(encoder.encode(nothing)) == []


def test_a_block_boundary_changes_nothing(monkeypatch):
    counts = as_counts(random_counts(200, NUM_GENES, seed=8))
    whole = build(V2).encode(counts)
    monkeypatch.setattr("bionemo.geneformer.data.rank_encoding._BLOCK_VALUES", 300)
    pieces = build(V2).encode(counts)
    np.testing.assert_array_equal(whole.tokens, pieces.tokens)
    np.testing.assert_array_equal(whole.lengths, pieces.lengths)


def test_counts_far_apart_keep_their_order():
    medians = {"A": 0.0947, "B": 634.3, "C": 1.0}
    tokenizer = GeneTokenizer.from_medians_and_genes_dicts(medians, {}, variant=V1)
    encoder = RankEncoder(tokenizer, medians, [table(["A", "B", "C"])])
    assert split(encoder.encode(as_counts([[1, 3_000_000, 11]]))) == [[3, 4, 2]]
    assert split(encoder.encode(as_counts([[1e-30, 1e-20, 1e-10]]))) == [[4, 3, 2]]


def test_no_room_for_a_gene_is_refused():
    with pytest.raises(ConfigError, match="must leave room for a gene, found 2"):
        build(V2, max_length=2)


def test_random_sparse_matrices_agree_with_their_dense_form(check_cell):
    encoder = build(V1, max_length=30)
    rng = np.random.default_rng(9)
    for seed in range(5):
        sparse = random_array((40, NUM_GENES), density=0.2, rng=seed, format="csr")
        sparse.data = rng.integers(1, 5, sparse.nnz).astype(np.float32)  # few values: many ties
        counts = Counts(sparse.data, sparse.indices.astype(np.int32), sparse.indptr.astype(np.int64))
        for cell, tokens in zip(sparse.toarray(), split(encoder.encode(counts)), strict=True):
            check_cell(tokens, cell, GENES, encoder.tokenizer.vocab, MEDIANS, max_genes=30)
