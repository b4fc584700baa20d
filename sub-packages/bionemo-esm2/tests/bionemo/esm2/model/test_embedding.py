# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Token dropout against its definition, sequence by sequence."""

import torch

from bionemo.esm2.model.embedding import ESM2_MASK_RATIO_TRAIN, ESM2Embedding
from bionemo.esm2.model.model import esm2_config


MASK_ID = 32


def test_rows_are_scaled_by_their_own_sequence() -> None:
    embedding = ESM2Embedding(esm2_config("8M"), 128, 33, MASK_ID)
    input_ids = torch.tensor([0, 5, MASK_ID, 2, 0, 6, 7, 8, 2, 0, 2, 1, 1])  # lengths 4, 5, 2 and a tail of 2
    cu_seqlens = torch.tensor([0, 4, 9, 11, 11, 11], dtype=torch.int32)
    scale = embedding.row_scale(input_ids == MASK_ID, cu_seqlens)
    kept = 1 - ESM2_MASK_RATIO_TRAIN
    expected = [kept / 0.75, kept / 0.75, 0.0, kept / 0.75, *[kept] * 5, *[kept] * 2, 0.0, 0.0]
    torch.testing.assert_close(scale, torch.tensor(expected))
    embedded = embedding(input_ids, torch.zeros_like(input_ids), cu_seqlens)
    words = embedding.word_embeddings.weight
    torch.testing.assert_close(embedded[1], words[5] * kept / 0.75)
    assert not embedded[2].any()
    assert not embedded[11:].any()


def test_padding_rows_of_the_vocabulary_start_at_zero() -> None:
    embedding = ESM2Embedding(esm2_config("8M"), 128, 33, MASK_ID)
    assert not embedding.word_embeddings.weight[33:].any()
    assert embedding.word_embeddings.weight[:33].std().item() > 0.015
