# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of labeled proteins: whole, and cropped to windows that keep residues, labels and features together."""

from itertools import pairwise

import numpy as np

from bionemo.esm2.data.tokenizer import get_tokenizer
from bionemo.esm2.finetuning.dataset import LabeledProteinDataset
from bionemo.esm2.finetuning.examples import read_examples
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader


HELIX = "LAERKQMH"


def test_windows_keep_residues_labels_and_features_together(settings) -> None:
    config = settings(level="residue", task_type="classification", label_column="states")
    examples = read_examples(config)
    features = np.arange(len(examples.proteins.tokens), dtype=np.float32)[:, None]
    subset = np.arange(3, 100)
    helix = get_tokenizer().encode(HELIX)[1:-1]
    seen = []
    for crop, epochs in ((10, 2), (None, 1)):
        data = LabeledProteinDataset(
            examples.proteins, examples.labels, "residue", subset=subset, sequences_per_batch=8, features=features,
            crop_length=crop, seed=1,
        )  # fmt: skip
        loading = PackLoading(tokens_per_batch=None, sequences_per_batch=8, seed=0)
        counts = np.zeros(len(features), np.int64)
        for batch in build_pack_loader(data, loading, epochs=epochs):
            rows = batch["features"][:, 0].long().numpy()
            cu_seqlens = batch["cu_seqlens"][: batch["num_sequences"] + 1].numpy()
            inner = np.concatenate([np.arange(a + 1, b - 1) for a, b in pairwise(cu_seqlens)])
            tokens = batch["input_ids"].numpy()[inner]
            np.testing.assert_array_equal(tokens, examples.proteins.tokens[rows])
            np.testing.assert_array_equal(batch["label_values"][:, 0].numpy(), np.isin(tokens, helix))
            counts[rows] += 1
        seen.append(counts)
    lengths, offsets = examples.proteins.lengths, examples.proteins.offsets
    for protein in subset.tolist():
        window, whole = (counts[offsets[protein] : offsets[protein + 1]] for counts in seen)
        assert window.sum() == 2 * min(10, lengths[protein])
        assert (whole == 1).all()
    assert (seen[0] == 1).sum() > 200  # windows of two epochs differ
