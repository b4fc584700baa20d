# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from bionemo.core.errors import DataError
from bionemo.llm.data.masking import PackMasking
from bionemo.llm.data.packing import build_packed_batch, pack_padded, unpack_to_padded


TOKENS = np.array([0, 5, 6, 2, 0, 7, 2], dtype=np.uint8)
LENGTHS = np.array([4, 3])
IDXS = np.array([11, 3])
MASKING = PackMasking(seed=1, mask_token_id=32, special_ids=(0, 2), random_token_ids=(4, 5, 6), mask_prob=0.5)


def test_layout_of_a_batch():
    batch = build_packed_batch(TOKENS, LENGTHS, IDXS, max_tokens=10, pad_token_id=1, sequences_multiple=4)
    assert batch["input_ids"].tolist() == [0, 5, 6, 2, 0, 7, 2, 1, 1, 1]
    assert batch["labels"].tolist() == [-100] * 10
    assert batch["position_ids"].tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 0, 0]
    assert batch["cu_seqlens"].tolist() == [0, 4, 7, 7, 7]
    assert batch["sample_idx"].tolist() == [11, 3, -1, -1]
    assert (batch["max_seqlen"], batch["num_tokens"], batch["num_sequences"]) == (4, 7, 2)
    assert batch["next_position"] is None
    assert [batch[k].dtype for k in ("input_ids", "labels", "position_ids", "cu_seqlens", "sample_idx")] == [
        torch.int64,
        torch.int64,
        torch.int32,
        torch.int32,
        torch.int64,
    ]


def test_masked_places_carry_the_original_as_label():
    rng = np.random.default_rng(0)
    tokens = rng.integers(4, 24, 600).astype(np.uint8)
    batch = build_packed_batch(
        tokens, np.array([200, 400]), IDXS, max_tokens=700, pad_token_id=1, masking=MASKING, epoch=3
    )
    selected = batch["labels"] >= 0
    assert 200 < int(selected.sum()) < 400
    original = torch.cat([torch.from_numpy(tokens.astype(np.int64)), torch.ones(100, dtype=torch.int64)])
    assert torch.equal(batch["labels"][selected], original[selected])
    assert torch.equal(batch["input_ids"][~selected], original[~selected])
    assert (batch["input_ids"][selected] == 32).float().mean() > 0.7
    again = build_packed_batch(
        tokens, np.array([200, 400]), np.array([0, 1]), max_tokens=700, pad_token_id=1, masking=MASKING, epoch=3,
        mask_idx=IDXS,
    )  # fmt: skip
    assert torch.equal(batch["input_ids"], again["input_ids"])  # the mask follows mask_idx, not sample_idx


def test_an_empty_pack_has_the_same_shapes():
    nothing = np.empty(0, dtype=np.int64)
    batch = build_packed_batch(
        nothing.astype(np.uint8), nothing, nothing, max_tokens=10, pad_token_id=1, masking=MASKING
    )
    assert batch["input_ids"].tolist() == [1] * 10
    assert batch["cu_seqlens"].tolist() == [0] * 9
    assert (batch["max_seqlen"], batch["num_tokens"], batch["num_sequences"]) == (0, 0, 0)


def test_a_pack_must_fit():
    with pytest.raises(DataError, match="7 tokens, more than max_tokens=6"):
        build_packed_batch(TOKENS, LENGTHS, IDXS, max_tokens=6, pad_token_id=1)
    with pytest.raises(DataError, match="sum to 5, but it has 7 tokens"):
        build_packed_batch(TOKENS, np.array([4, 1]), IDXS, max_tokens=10, pad_token_id=1)


@pytest.mark.parametrize("left", [False, True])
def test_padded_to_packed_and_back(left):
    generator = torch.Generator().manual_seed(0)
    lengths = [3, 0, 7, 1]
    mask = torch.zeros(4, 7, dtype=torch.int64)
    for row, length in enumerate(lengths):
        mask[row, slice(7 - length, 7) if left else slice(0, length)] = 1
    ids = torch.randint(4, 24, (4, 7), generator=generator)
    batch = pack_padded(ids, mask, labels=ids * 10)
    assert batch["cu_seqlens"].tolist() == [0, 3, 3, 10, 11]
    assert batch["position_ids"].tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 0]
    assert torch.equal(batch["labels"], batch["input_ids"] * 10)
    assert (batch["num_tokens"], batch["max_seqlen"], batch["num_sequences"]) == (11, 7, 4)
    back = unpack_to_padded(batch["input_ids"], batch["cu_seqlens"], 4, 7, attention_mask=mask, fill=-1)
    assert torch.equal(back, torch.where(mask.bool(), ids, -1))


def test_unpacking_ignores_the_tail_and_lets_gradients_through():
    batch = build_packed_batch(TOKENS, LENGTHS, IDXS, max_tokens=10, pad_token_id=1)
    values = torch.arange(20.0).reshape(10, 2).requires_grad_()
    padded = unpack_to_padded(values, batch["cu_seqlens"], 2, 5)
    assert padded.shape == (2, 5, 2)
    assert torch.equal(padded[1, :3], values[4:7])
    assert padded[0, 4].tolist() == [0, 0]
    padded.sum().backward()
    assert values.grad[:, 0].tolist() == [1.0] * 7 + [0.0] * 3


def test_a_mask_with_a_gap_or_another_shape_is_refused():
    ids = torch.ones(2, 4, dtype=torch.int64)
    with pytest.raises(DataError, match=r"attention_mask has a gap in row 1 \(2 runs of ones\)"):
        pack_padded(ids, torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0]]))
    with pytest.raises(DataError, match=r"found \(2, 4\) and \(2, 3\)"):
        pack_padded(ids, torch.ones(2, 3))
