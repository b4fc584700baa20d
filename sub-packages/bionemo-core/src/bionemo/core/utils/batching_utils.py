# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Padding of token sequences to one length."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bionemo.core.errors import DataError


__all__ = ("pad_token_ids",)


def pad_token_ids(
    token_ids: Sequence[Sequence[int]] | Sequence[Tensor],
    padding_value: int = 0,
    padding_len: int | None = None,
    pad_size_divisible_by: int = 1,
    **convert_to_kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Pad token sequences on the right and mark which tokens are real.

    Args:
        token_ids: One list of integers or 1-D tensor per sequence.
        padding_value: Fills the right end.
        padding_len: Length to pad to, in tokens; that of the longest sequence unless given.
        pad_size_divisible_by: The length is rounded up to a multiple of this.
        **convert_to_kwargs: Passed to ``.to()`` of both results, for example a device.

    Returns:
        The padded ids and the boolean mask, True for real tokens, both [batch, length].

    Raises:
        DataError: There are no sequences, or one is longer than ``padding_len``.
    """
    rows = [torch.as_tensor(row) for row in token_ids]
    if not rows:
        raise DataError("pad_token_ids: expected at least one sequence, got an empty list.")
    lengths = torch.tensor([len(row) for row in rows])
    longest = int(lengths.max())
    length = padding_len or longest
    if longest > length:
        raise DataError(
            f"pad_token_ids: sequence {int(lengths.argmax())} has {longest} tokens, more than padding_len {length}. "
            "Crop it or raise padding_len."
        )
    length = -(-length // pad_size_divisible_by) * pad_size_divisible_by
    dtype = next((row.dtype for row in rows if len(row)), torch.int64)  # an empty list would make it float
    padded = torch.full((len(rows), length), padding_value, dtype=dtype, device=rows[0].device)
    for row_idx, row in enumerate(rows):
        padded[row_idx, : len(row)] = row
    mask = torch.arange(length) < lengths[:, None]
    return padded.to(**convert_to_kwargs), mask.to(padded.device).to(**convert_to_kwargs)
