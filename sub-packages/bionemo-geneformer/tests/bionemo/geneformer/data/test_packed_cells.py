# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
from itertools import pairwise

import numpy as np
import pytest

from bionemo.core.data.size_aware_batching import Pack, PlanPosition, TokenBudgetBatchSampler
from bionemo.core.errors import ConfigError, DataError
from bionemo.geneformer.data.packed_cells import PackedCellDataset, build_masking
from bionemo.geneformer.data.tokenized_cells import TokenLists
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.geneformer.tokenizer.variants import V1, V2


MEDIANS = {f"ENSG{i}": 1.0 for i in range(60)}
V1_TOKENIZER = GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, {}, variant=V1)
V2_TOKENIZER = GeneTokenizer.from_medians_and_genes_dicts(MEDIANS, {}, variant=V2)


def pack(idxs, epoch=0):
    return Pack(epoch, np.array(idxs, dtype=np.int64), PlanPosition(0, 1))


def cells_of(batch):
    bounds = batch["cu_seqlens"].tolist()
    return [batch["input_ids"][a:b].tolist() for a, b in pairwise(bounds) if b > a]


def test_cells_are_packed_as_they_are():
    cells = TokenLists.from_lists([[5, 9, 7], [6], [8, 5]])
    dataset = PackedCellDataset(cells, V1_TOKENIZER, max_seq_length=4, max_tokens=8)
    batch = dataset[pack([2, 0])]
    assert cells_of(batch) == [[8, 5], [5, 9, 7]]
    assert batch["input_ids"].tolist() == [8, 5, 5, 9, 7, 0, 0, 0]
    assert batch["position_ids"].tolist() == [0, 1, 0, 1, 2, 0, 0, 0]
    assert batch["sample_idx"].tolist()[:2] == [2, 0]
    assert set(batch["labels"].tolist()) == {-100}
    assert (len(dataset), dataset.token_lengths(0, np.array([0, 1])).tolist()) == (3, [3, 1])


def test_long_cells_keep_their_highest_genes_and_their_end():
    lists = [[2, 9, 8, 7, 6, 3], [2, 5, 3], [2, 9, 8, 7, 6, 5]]
    v2 = PackedCellDataset(TokenLists.from_lists(lists), V2_TOKENIZER, max_seq_length=4, max_tokens=16)
    assert cells_of(v2[pack([0, 1, 2])]) == [[2, 9, 8, 3], [2, 5, 3], [2, 9, 8, 7]]
    assert v2.token_lengths(0, np.arange(3)).tolist() == [4, 3, 4]
    v1 = PackedCellDataset(TokenLists.from_lists(lists), V1_TOKENIZER, max_seq_length=4, max_tokens=16)
    assert cells_of(v1[pack([0, 1])]) == [[2, 9, 8, 7], [2, 5, 3]]


def test_genes_are_masked_and_special_tokens_never():
    rng = np.random.default_rng(0)
    lists = [[2, *rng.permutation(np.arange(4, 64))[:50], 3] for _ in range(200)]
    masking = build_masking(V2_TOKENIZER, seed=3, mask_prob=0.5, mask_token_prob=0.4, random_token_prob=0.4)
    dataset = PackedCellDataset(
        TokenLists.from_lists(lists), V2_TOKENIZER, max_seq_length=64, max_tokens=52 * 200, masking=masking
    )
    batch = dataset[pack(range(200))]
    original, seen, labels = np.concatenate(lists), batch["input_ids"].numpy(), batch["labels"].numpy()
    selected = labels >= 0
    np.testing.assert_array_equal(labels[selected], original[selected])
    assert not (selected & (original < 4)).any()
    np.testing.assert_array_equal(seen[~selected], original[~selected])
    hidden = selected & (seen == V2_TOKENIZER.mask_token_id)
    assert abs(selected[original >= 4].mean() - 0.5) < 0.02
    assert abs(hidden.sum() / selected.sum() - 0.4) < 0.02
    replaced = selected & ~hidden
    assert set(seen[replaced].tolist()) == set(range(4, 64))
    again = dataset[pack([7, 150])]
    np.testing.assert_array_equal(again["labels"][:52], batch["labels"][7 * 52 : 8 * 52])


def test_a_subset_and_a_sampler_give_each_cell_once():
    rng = np.random.default_rng(1)
    cells = TokenLists.from_lists([rng.integers(2, 62, n).tolist() for n in rng.integers(1, 20, 90)])
    subset = np.arange(0, 90, 3)
    dataset = PackedCellDataset(cells, V1_TOKENIZER, subset=subset, max_seq_length=16, max_tokens=40)
    sampler = TokenBudgetBatchSampler(dataset.token_lengths, 40, num_samples=len(dataset), num_epochs=1)
    found = [i for one in sampler for i in dataset[one]["sample_idx"].tolist() if i >= 0]
    assert sorted(found) == subset.tolist()


def test_what_cannot_be_packed_is_refused():
    cells = TokenLists.from_lists([[5, 62]])
    with pytest.raises(ConfigError, match="must leave room for a gene, found 2"):
        PackedCellDataset(cells, V2_TOKENIZER, max_seq_length=2, max_tokens=8)
    with pytest.raises(DataError, match="The data set is empty"):
        PackedCellDataset(TokenLists.from_lists([]), V1_TOKENIZER, max_seq_length=4, max_tokens=8)
    with pytest.raises(DataError, match="A cell has the token 62, but the vocabulary has 62"):
        PackedCellDataset(cells, V1_TOKENIZER, max_seq_length=4, max_tokens=8)[pack([0])]
