# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The contracts between data and model, as typed dictionaries with every key documented.

T is the token budget of a packed batch, B its number of sequences (rounded up), S the length of one padded sample.
"""

from typing import TYPE_CHECKING, Protocol, TypedDict, runtime_checkable

from torch import Tensor


if TYPE_CHECKING:
    from bionemo.core.data.size_aware_batching import PlanPosition


class PackedBatch(TypedDict):
    """Many sequences in one row of tokens: what a model reads, whatever the data were.

    The first ``num_tokens`` places hold the sequences one after the other. The rest, up to the budget T, is a tail of
    padding that belongs to no sequence. The shapes are static, so that a compiled graph is built once.
    """

    input_ids: Tensor
    """[T] int64, token ids after masking; the padding id in the tail."""

    labels: Tensor
    """[T] int64, the original id where a token was selected for the loss, else -100."""

    position_ids: Tensor
    """[T] int32, counted from 0 in each sequence; 0 in the tail."""

    cu_seqlens: Tensor
    """[B + 1] int32, sequence b is at ``cu_seqlens[b]:cu_seqlens[b + 1]``; entries past the last sequence repeat the
    number of tokens, so rounded-up sequences are empty."""

    max_seqlen: int
    """Length in tokens of the longest sequence; 0 in an empty packed batch."""

    sample_idx: Tensor
    """[B] int64, which record of the source a sequence is; -1 for the empty ones."""

    num_tokens: int
    """Tokens that belong to sequences: ``cu_seqlens[-1]`` without asking the device."""

    num_sequences: int
    """Sequences that are real: B before it was rounded up."""

    next_position: "PlanPosition | None"
    """Where the global pack schedule continues after this packed batch; None without a schedule."""


class BertSample(TypedDict):
    """One masked sample of a padded batch."""

    text: Tensor
    """[S] int64, token ids after masking."""

    types: Tensor
    """[S] int64, zeros: there is one kind of segment."""

    attention_mask: Tensor
    """[S] int64, ones: True means that the token is attended to."""

    labels: Tensor
    """[S] int64, the original id where ``loss_mask``, else -100."""

    loss_mask: Tensor
    """[S] bool, the tokens selected for the loss."""

    is_random: Tensor
    """[S] int64, zeros: no sample is a randomly chosen next sentence."""


@runtime_checkable
class Tokenizer(Protocol):
    """What masking asks of a tokenizer."""

    @property
    def mask_token_id(self) -> int | None:
        """Mask token id, or None where the vocabulary has none."""

    @property
    def all_special_ids(self) -> list[int]:
        """Ids that are never selected for the loss."""
