# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A masked language model against a reference that reads one sequence at a time and never pads.

Letters: B sequences, S padded length, L one sequence's, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bionemo.core.optional_deps import require


if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


LOGITS_BOUND = 1e-5
"""Largest difference of logits and last hidden states, relative to their largest value or to 1."""
INNER_BOUND = 5e-6
"""The same of embeddings and inner blocks, relative to their largest value."""


def padded(sequences: Sequence[Tensor], pad_token_id: int) -> Tensor:
    """Fill sequences up to three tokens more than the longest, [B, S]."""
    import torch

    batch = torch.full((len(sequences), max(map(len, sequences)) + 3), pad_token_id)
    for row, sequence in enumerate(sequences):
        batch[row, : len(sequence)] = sequence
    return batch


def assert_equals_oracle(logits: Tensor, hidden_states: Sequence[Tensor], oracle: Any) -> None:
    """Compare one sequence's logits [L, V] and hidden states with what the reference gave for it alone.

    Raises:
        AssertionError: A difference is above its bound.
    """
    *inner, last = zip(hidden_states, oracle.hidden_states, strict=True)
    for ours, theirs in ((logits, oracle.logits), last):
        largest = max(1.0, theirs.abs().max().item())
        assert (ours - theirs[0]).abs().max().item() <= LOGITS_BOUND * largest
    for ours, theirs in inner:
        assert (ours - theirs[0]).abs().max().item() <= INNER_BOUND * theirs.abs().max().item()


def assert_padded_packed_and_alone_equal(
    module: Any, reference: Any, sequences: Sequence[Tensor], pad_token_id: int
) -> None:
    """Compare a module with a reference of transformers, in every form that a batch can have.

    Args:
        module: Ours: called with a padded batch and its mask, ``module.model.forward_packed`` with a packed one.
        reference: Theirs, in evaluation mode.
        sequences: B times [L] int64, of different lengths.
        pad_token_id: Fills the padded batch up.

    Raises:
        AssertionError: A difference is above its bound, or a padded place has logits.
    """
    import torch

    with torch.no_grad():
        pack_padded = require("bionemo.llm.data.packing", extra="bionemo-llm").pack_padded
        batch = padded(sequences, pad_token_id)
        is_token = batch != pad_token_id
        packed = pack_padded(batch, is_token)
        inputs = (packed[name] for name in ("input_ids", "position_ids", "cu_seqlens", "max_seqlen"))
        ours_padded = module(batch, is_token, output_hidden_states=True)
        ours_packed = module.model.forward_packed(*inputs, output_hidden_states=True)
        start = 0
        for row, sequence in enumerate(sequences):
            alone, length = sequence.unsqueeze(0), len(sequence)
            mask, span = torch.ones_like(alone), slice(start, start + length)
            oracle = reference(input_ids=alone, attention_mask=mask, output_hidden_states=True)
            ours_alone = module(alone, mask, output_hidden_states=True)
            padded_states = [state[row, :length] for state in ours_padded.hidden_states]
            assert_equals_oracle(ours_padded.token_logits[row, :length], padded_states, oracle)
            packed_states = [state[span] for state in ours_packed.all_hidden_states]
            assert_equals_oracle(ours_packed.token_logits[span], packed_states, oracle)
            assert_equals_oracle(ours_alone.token_logits[0], [state[0] for state in ours_alone.hidden_states], oracle)
            start += length
        assert ours_padded.token_logits.shape == (*batch.shape, oracle.logits.shape[-1])
        assert not ours_padded.token_logits[~is_token].any()
