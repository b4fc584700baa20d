# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import itertools
import math
import pickle

import numpy as np
import pytest
import torch

from bionemo.core.data.size_aware_batching import Pack, PlanPosition, TokenBudgetBatchSampler
from bionemo.core.errors import ConfigError, DataError
from bionemo.esm2.data.packed_dataset import PackedProteinDataset, build_masking
from bionemo.esm2.data.sequence_store import Clusters
from bionemo.esm2.data.sequence_store_writer import build_store
from bionemo.esm2.data.splits import split_train_valid
from bionemo.esm2.data.tokenizer import RandomMaskStrategy, get_tokenizer
from bionemo.esm2.data.unigram import residue_counts, residue_frequencies, unigram_cross_entropy


OPTIONS = {"seed": 3, "max_seq_length": 40, "max_tokens": 100}
POSITION = PlanPosition(0, 1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), n)) for n in rng.integers(5, 90, 60)]
    (folder / "in.fasta").write_text("".join(f">s{i}\n{s}\n" for i, s in enumerate(sequences)))
    return build_store(folder / "in.fasta", folder / "store")


def _pack(idxs, epoch=0):
    return Pack(epoch, np.asarray(idxs, dtype=np.int64), POSITION)


def _sequences(batch):
    bounds = batch["cu_seqlens"].tolist()
    return [batch["input_ids"][a:b].tolist() for a, b in itertools.pairwise(bounds) if b > a]


def test_short_sequences_come_whole_and_long_ones_as_windows(store):
    dataset = PackedProteinDataset(store, masking=None, **OPTIONS)
    tokenizer = get_tokenizer()
    short = int(np.flatnonzero(store.lengths <= 40)[0])
    long = int(np.flatnonzero(store.lengths > 60)[0])
    batch = dataset[_pack([short, long])]
    first, second = _sequences(batch)
    assert first == tokenizer.encode(store.sequence(short))
    whole = tokenizer.encode(store.sequence(long))
    assert len(second) == 40
    assert second in [whole[start : start + 40] for start in range(len(whole) - 39)]
    assert batch["sample_idx"][:2].tolist() == [short, long]
    assert batch["input_ids"].shape == (100,)
    assert batch["next_position"] == POSITION
    assert int((batch["labels"] >= 0).sum()) == 0
    np.testing.assert_array_equal(dataset.token_lengths(0, np.array([short, long])), [len(first), 40])


def test_every_window_can_be_drawn_the_last_included(store):
    dataset = PackedProteinDataset(store, masking=None, **OPTIONS)
    idx = int(np.flatnonzero((store.lengths > 42) & (store.lengths < 50))[0])
    whole = get_tokenizer().encode(store.sequence(idx))
    starts = {
        next(s for s in range(len(whole)) if whole[s : s + 40] == _sequences(dataset[_pack([idx], epoch)])[0])
        for epoch in range(200)
    }
    assert starts == set(range(len(whole) - 39))


def test_a_sample_is_a_function_of_seed_epoch_and_index(store):
    options = OPTIONS | {"masking": build_masking(seed=3)}
    dataset = PackedProteinDataset(store, **options)
    together, alone = dataset[_pack([7, 8], epoch=5)], dataset[_pack([8], epoch=5)]
    assert _sequences(together)[1] == _sequences(alone)[0]
    for other in (dataset[_pack([8], epoch=6)], PackedProteinDataset(store, **options | {"seed": 4})[_pack([8], 5)]):
        assert _sequences(other) != _sequences(alone) or len(_sequences(alone)[0]) < 40
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 our own bytes
    assert torch.equal(copy[_pack([7, 8], 5)]["input_ids"], together["input_ids"])


def test_a_subset_keeps_the_draws_of_its_records(store):
    masking = build_masking(seed=3)
    subset = np.array([50, 8, 20])
    part = PackedProteinDataset(store, subset=subset, masking=masking, **OPTIONS)
    whole = PackedProteinDataset(store, masking=masking, **OPTIONS)
    assert len(part) == 3
    batch = part[_pack([1, 2])]
    assert torch.equal(batch["input_ids"], whole[_pack([8, 20])]["input_ids"])
    assert batch["sample_idx"][:2].tolist() == [8, 20]
    with pytest.raises(DataError, match="A subset names record 60, but there are 60"):
        PackedProteinDataset(store, subset=np.array([60]), masking=None, **OPTIONS)


def test_each_epoch_draws_a_member_of_each_cluster(store):
    clusters = Clusters(np.array([0, 3, 4]), np.array([5, 9, 30, 11]))
    dataset = PackedProteinDataset(store, clusters=clusters, masking=None, **OPTIONS)
    assert len(dataset) == 2
    drawn = np.array([dataset.rows(epoch, np.array([0, 1])) for epoch in range(300)])
    assert set(drawn[:, 1].tolist()) == {11}
    counts = [int((drawn[:, 0] == member).sum()) for member in (5, 9, 30)]
    assert sum(counts) == 300
    assert min(counts) > 60  # 100 expected, standard deviation 8
    batch = dataset[_pack([0, 1], epoch=7)]
    np.testing.assert_array_equal(batch["sample_idx"][:2], dataset.rows(7, np.array([0, 1])))
    np.testing.assert_array_equal(
        dataset.token_lengths(7, np.array([0, 1])), [len(sequence) for sequence in _sequences(batch)]
    )
    empty = PackedProteinDataset(store, clusters=Clusters(np.array([0, 0, 1]), np.array([5])), masking=None, **OPTIONS)
    with pytest.raises(DataError, match="Cluster 0 is empty"):
        empty.token_lengths(0, np.array([1, 0]))


def test_with_the_sampler_and_a_loader_every_sequence_comes_once(store):
    dataset = PackedProteinDataset(store, masking=build_masking(seed=3), **OPTIONS)
    sampler = TokenBudgetBatchSampler(
        dataset.token_lengths, OPTIONS["max_tokens"], num_samples=len(dataset), seed=3, num_epochs=1
    )
    loader = torch.utils.data.DataLoader(dataset, sampler=sampler, batch_size=None, num_workers=1)
    batches = list(loader)
    seen = [idx for batch in batches for idx in batch["sample_idx"].tolist() if idx >= 0]
    assert sorted(seen) == list(range(60))
    assert {tuple(batch["input_ids"].shape) for batch in batches} == {(100,)}
    assert sum(batch["num_tokens"] for batch in batches) == int(np.minimum(store.lengths, 40).sum())
    assert isinstance(batches[0]["next_position"], PlanPosition)


def test_hidden_validation_selects_the_same_residues(store):
    mixed = PackedProteinDataset(store, masking=build_masking(seed=3), **OPTIONS)[_pack([1, 2])]
    hidden_masking = build_masking(seed=3, mask_token_prob=1.0, random_token_prob=0.0)
    hidden = PackedProteinDataset(store, masking=hidden_masking, **OPTIONS)[_pack([1, 2])]
    assert torch.equal(mixed["labels"], hidden["labels"])
    assert set(hidden["input_ids"][hidden["labels"] >= 0].tolist()) == {32}


def test_masking_strategies():
    assert build_masking(seed=0).random_token_ids == tuple(range(4, 31))
    assert build_masking(seed=0, strategy=RandomMaskStrategy.ALL_TOKENS).random_token_ids == tuple(range(33))


def test_impossible_sizes_are_refused(store):
    with pytest.raises(ConfigError, match="max_tokens=39 is below max_seq_length=40"):
        PackedProteinDataset(store, masking=None, **OPTIONS | {"max_tokens": 39})
    with pytest.raises(ConfigError, match="max_seq_length must be at least 3"):
        PackedProteinDataset(store, masking=None, **OPTIONS | {"max_seq_length": 2})
    with pytest.raises(DataError, match="The data set is empty"):
        PackedProteinDataset(store, subset=np.empty(0, dtype=np.int64), masking=None, **OPTIONS)


def test_split_is_exact_disjoint_and_repeatable():
    train, valid = split_train_valid(1000, 0.05, 42)
    assert len(valid) == 50
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(1000))
    np.testing.assert_array_equal(split_train_valid(1000, 0.05, 42)[1], valid)
    assert not np.array_equal(split_train_valid(1000, 0.05, 43)[1], valid)


@pytest.mark.parametrize(("num", "fraction"), [(9, 0.05), (10, 0.0), (10, 1.0), (1, 0.5), (10, -0.5)])
def test_a_split_with_an_empty_side_is_refused(num, fraction):
    with pytest.raises(ConfigError, match=f"--valid-fraction {fraction} of {num} records"):
        split_train_valid(num, fraction, 42)


def _tiny(tmp_path, name, sequences):
    path = tmp_path / f"{name}.fasta"
    path.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(sequences)))
    return PackedProteinDataset(build_store(path, tmp_path / name), masking=None, **OPTIONS)


def test_unigram_cross_entropy_is_what_the_formula_says(tmp_path):
    train = _tiny(tmp_path, "train", ["A" * 60 + "G" * 20, "C" * 20])
    valid = _tiny(tmp_path, "valid", ["AAGC", "W"])
    counts = residue_counts(train)
    assert {i: n for i, n in enumerate(counts.tolist()) if n} == {5: 60, 6: 20, 23: 20}  # specials are not counted
    assert residue_frequencies(train).sum() == pytest.approx(1.0)
    # 100 residues and one more for each of the 27 ordinary tokens
    expected = -(2 * math.log(61 / 127) + 2 * math.log(21 / 127) + math.log(1 / 127)) / 5
    assert unigram_cross_entropy(train, valid) == pytest.approx(expected)


def test_a_large_set_is_counted_on_a_spread_of_its_sequences(store):
    dataset = PackedProteinDataset(store, masking=None, **OPTIONS)
    whole, part = residue_counts(dataset), residue_counts(dataset, max_residues=int(store.lengths.sum()) // 3)
    assert 0.12 < part.sum() / whole.sum() < 0.4  # every fourth sequence
