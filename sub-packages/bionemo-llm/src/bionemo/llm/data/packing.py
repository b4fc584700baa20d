# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""From samples, or from a padded batch, to a `PackedBatch`, and from packed values back to padded ones.

Letters: T token budget, B sequences, S padded length, n tokens of a packed batch.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.core.buffers import BATCHES
from bionemo.core.errors import DataError
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.data.masking import PackMasking, mask_pack
from bionemo.llm.data.types import PackedBatch


if TYPE_CHECKING:
    from bionemo.core.data.size_aware_batching import PlanPosition


SLOTS_MULTIPLE = 32
"""Static shapes round the slots for sequences up to this: empty ones cost a kernel time, more shapes compilations."""


def build_packed_batch(
    tokens: NDArray[np.integer],
    lengths: NDArray[np.int64],
    sample_idx: NDArray[np.int64],
    *,
    max_tokens: int,
    pad_token_id: int,
    masking: PackMasking | None = None,
    epoch: int = 0,
    mask_idx: NDArray[np.int64] | None = None,
    sequences_multiple: int = 8,
    next_position: "PlanPosition | None" = None,
) -> PackedBatch:
    """Lay the samples of one packed batch into a batch of static size, masked on the way.

    Args:
        tokens: [n] integers of any width, the samples one after the other, special tokens included.
        lengths: [B] int64, tokens of each sample, each at least 1; their sum is n. None at all give an empty pack.
        sample_idx: [B] int64, which record of the source each sample is.
        max_tokens: T, the token budget; the tail after the n tokens is padding.
        pad_token_id: Id in the tail.
        masking: How to mask, or None for no labels.
        epoch: Epoch that the masks are drawn for.
        mask_idx: [B] int64, index of each sample for the draw of its mask; None: `sample_idx`.
        sequences_multiple: B is rounded up to a multiple of this, so that shapes stay few.
        next_position: Handed through.

    Returns:
        The batch, on the CPU.

    Raises:
        DataError: The lengths do not sum to the tokens given, or exceed the budget.
    """
    num_tokens, num_sequences = len(tokens), len(lengths)
    if int(lengths.sum()) != num_tokens:
        raise DataError(f"A pack's lengths sum to {int(lengths.sum())}, but it has {num_tokens} tokens.")
    if num_tokens > max_tokens:
        raise DataError(f"A pack has {num_tokens} tokens, more than max_tokens={max_tokens}. Raise the token budget.")
    input_ids, labels = BATCHES.empty(max_tokens, np.int64), BATCHES.empty(max_tokens, np.int64)
    input_ids[:num_tokens] = tokens
    input_ids[num_tokens:] = pad_token_id
    labels.fill(MLM_LOSS_IGNORE_INDEX)
    if masking is not None and num_sequences:
        mask_idx = sample_idx if mask_idx is None else mask_idx
        mask = mask_pack(tokens, lengths, mask_idx, epoch=epoch, masking=masking)
        labels[mask.positions] = mask.original_ids
        input_ids[mask.positions] = mask.replacement_ids
    rounded = max(-(-num_sequences // sequences_multiple), 1) * sequences_multiple
    cu_seqlens = np.full(rounded + 1, num_tokens, dtype=np.int32)
    cu_seqlens[0] = 0
    np.cumsum(lengths, out=cu_seqlens[1 : num_sequences + 1], dtype=np.int32)
    position_ids = BATCHES.empty(max_tokens, np.int32)
    longest = int(lengths.max(initial=0))
    counted = np.arange(longest, dtype=np.int32)
    for end, length in zip(cu_seqlens[1:].tolist(), lengths.tolist(), strict=False):
        position_ids[end - length : end] = counted[:length]
    position_ids[num_tokens:] = 0
    padded_idx = np.full(rounded, -1, dtype=np.int64)
    padded_idx[:num_sequences] = sample_idx
    return PackedBatch(
        input_ids=torch.from_numpy(input_ids),
        labels=torch.from_numpy(labels),
        position_ids=torch.from_numpy(position_ids),
        cu_seqlens=torch.from_numpy(cu_seqlens),
        max_seqlen=longest,
        sample_idx=torch.from_numpy(padded_idx),
        num_tokens=num_tokens,
        num_sequences=num_sequences,
        next_position=next_position,
    )


def cover_tail(
    cu_seqlens: torch.Tensor, num_sequences: int, num_tokens: int, max_seqlen: int, slots_multiple: int
) -> torch.Tensor:
    """Divide a packed batch's tail into sequences too, so that the shapes of its batch hold nothing but tokens.

    Args:
        cu_seqlens: [>= num_sequences + 1] int32 on the CPU, as in `PackedBatch`.
        num_sequences: Sequences that are real.
        num_tokens: T, all tokens with the tail.
        max_seqlen: Length that no part of the tail may exceed.
        slots_multiple: The number of sequences is rounded up to a multiple of this, with empty ones.

    Returns:
        [B + 1] int32, ending in T.
    """
    used = int(cu_seqlens[num_sequences])
    ends = torch.arange(used + max_seqlen, num_tokens + max_seqlen, max_seqlen, dtype=torch.int32).clamp(
        max=num_tokens
    )
    empty = -(num_sequences + len(ends)) % slots_multiple
    return torch.cat((cu_seqlens[: num_sequences + 1], ends, ends.new_full((empty,), num_tokens)))


def pack_padded(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    labels: torch.Tensor | None = None,
    sample_idx: torch.Tensor | None = None,
) -> PackedBatch:
    """Turn a padded batch into a packed one without a tail: T is the number of attended tokens, B the batch size.

    Args:
        input_ids: [B, S] integers on any device.
        attention_mask: [B, S], true (non-zero) at tokens; in each row one run without gaps, at any column. A row
            without any token becomes an empty sequence.
        labels: [B, S] int64, packed alongside; None: all -100.
        sample_idx: [B] int64; None: 0 ... B - 1.

    Returns:
        The batch on the device of `input_ids`. Positions count from 0 at each row's first token. The device is asked
        once for its lengths.

    Raises:
        DataError: The shapes differ, or a row of the mask has a gap.
    """
    if input_ids.ndim != 2 or attention_mask.shape != input_ids.shape:
        raise DataError(
            f"input_ids and attention_mask must both be [B, S], found {tuple(input_ids.shape)} and "
            f"{tuple(attention_mask.shape)}."
        )
    device = input_ids.device
    mask_BS = attention_mask.to(device=device, dtype=torch.bool)
    lengths_B = mask_BS.sum(dim=1)
    runs_B = (mask_BS[:, 1:] & ~mask_BS[:, :-1]).sum(dim=1) + mask_BS[:, :1].sum(dim=1)
    lengths, runs = torch.stack([lengths_B, runs_B]).tolist()
    for row, num_runs in enumerate(runs):
        if num_runs > 1:
            raise DataError(
                f"attention_mask has a gap in row {row} ({num_runs} runs of ones). "
                "Each row must be one sequence, padded on the left or the right."
            )
    cu_seqlens = torch.zeros(len(lengths) + 1, dtype=torch.int32, device=device)
    cu_seqlens[1:] = lengths_B.cumsum(dim=0)
    position_BS = mask_BS.cumsum(dim=1, dtype=torch.int32) - 1
    packed_ids = input_ids[mask_BS].to(torch.int64)
    return PackedBatch(
        input_ids=packed_ids,
        labels=torch.full_like(packed_ids, MLM_LOSS_IGNORE_INDEX) if labels is None else labels[mask_BS],
        position_ids=position_BS[mask_BS],
        cu_seqlens=cu_seqlens,
        max_seqlen=max(lengths, default=0),
        sample_idx=torch.arange(len(lengths), device=device) if sample_idx is None else sample_idx,
        num_tokens=sum(lengths),
        num_sequences=len(lengths),
        next_position=None,
    )


def unpack_to_padded(
    values: torch.Tensor,
    cu_seqlens: torch.Tensor,
    batch: int,
    seq_len: int,
    *,
    attention_mask: torch.Tensor | None = None,
    fill: float = 0.0,
) -> torch.Tensor:
    """Put packed values back into a padded batch; gradients flow to `values`.

    Args:
        values: [T, ...] one row per token, any dtype and device.
        cu_seqlens: [>= batch + 1] int32, as in `PackedBatch`; further sequences must be empty.
        batch: Rows of the result.
        seq_len: Columns of the result, at least the longest sequence.
        attention_mask: [batch, seq_len], where the tokens were before packing; None: each row starts at column 0.
        fill: Value of the places without a token.

    Returns:
        [batch, seq_len, ...] of the dtype of `values`. Nothing is read back from the device.
    """
    device = values.device
    place_T = torch.arange(values.shape[0], device=device)
    # Tokens of the tail lie behind the last boundary: they get row `batch`, which is cut off in the end.
    row_T = torch.searchsorted(cu_seqlens[1 : batch + 1].to(torch.int64).contiguous(), place_T, right=True)
    starts = cu_seqlens[: batch + 1].to(torch.int64)
    column_T = torch.where(row_T < batch, place_T - starts[row_T], 0)
    if attention_mask is not None:
        mask = attention_mask.to(device=device, dtype=torch.bool)
        first_B = torch.cat([mask.to(torch.int8).argmax(dim=1), mask.new_zeros(1, dtype=torch.int64)])
        column_T = column_T + first_B[row_T]
    padded = values.new_full((batch + 1, seq_len, *values.shape[1:]), fill)
    return padded.index_put((row_T, column_T), values)[:batch]
