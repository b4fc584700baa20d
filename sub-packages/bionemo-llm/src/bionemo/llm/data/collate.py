# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Padding samples of different lengths into one batch."""

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch.nn.functional import pad

from bionemo.core.errors import DataError
from bionemo.llm.data.types import BertSample


MLM_LOSS_IGNORE_INDEX = -100
"""Label of a token that carries no loss; torch's own default."""

_warned_keys: set[str] = set()


def padding_collate_fn(
    batch: Sequence[Mapping[str, torch.Tensor]],
    padding_values: Mapping[str, int],
    min_length: int | None = None,
    max_length: int | None = None,
) -> dict[str, torch.Tensor]:
    """Cut, pad and stack samples.

    Args:
        batch: Samples with equal keys, each value a 1-D tensor. An empty list gives an empty dictionary, as the last
            ranks of a distributed prediction need.
        padding_values: What to pad each key with, on the right. Keys that are missing here are stacked as they are,
            with one warning per process.
        min_length: Pad to at least this many tokens; shorter than the longest sample, it has no effect.
        max_length: Cut samples to this many tokens first.

    Returns:
        Each key as one [B, S] tensor, S the longest sample or `min_length`.

    Raises:
        DataError: The samples have different keys.
    """
    if not batch:
        return {}
    keys = batch[0].keys()
    for position, sample in enumerate(batch):
        if sample.keys() != keys:
            raise DataError(
                f"All keys in inputs must match each other: sample 0 has {sorted(keys)}, "
                f"sample {position} has {sorted(sample.keys())}."
            )
    _warn_once([key for key in keys if key not in padding_values])
    return {
        key: _pad_and_stack([sample[key] for sample in batch], padding_values[key], min_length, max_length)
        if key in padding_values
        else torch.stack([sample[key] for sample in batch])
        for key in keys
    }


def bert_padding_collate_fn(
    batch: Sequence[BertSample],
    padding_value: int,
    min_length: int | None = None,
    max_length: int | None = None,
) -> dict[str, torch.Tensor]:
    """Pad masked samples into a batch.

    Args:
        batch: Samples of `bionemo.llm.data.types.BertSample`.
        padding_value: Id of the padding token, for `text`.
        min_length: Pad to at least this many tokens.
        max_length: Cut samples to this many tokens first.

    Returns:
        The keys of a sample, each [B, S]; padding is not attended to, carries the label -100 and no loss.
    """
    padding_values = {
        "text": padding_value,
        "types": 0,
        "attention_mask": False,
        "labels": MLM_LOSS_IGNORE_INDEX,
        "loss_mask": False,
        "is_random": 0,
    }
    return padding_collate_fn(batch, padding_values, min_length, max_length)  # type: ignore[arg-type]  # a TypedDict is a Mapping of its values


def _pad_and_stack(
    values: Sequence[torch.Tensor], padding_value: int, min_length: int | None, max_length: int | None
) -> torch.Tensor:
    cut = [value if max_length is None else value[:max_length] for value in values]
    length = max(max(len(value) for value in cut), min_length or 0)
    return torch.stack([pad(value, (0, length - len(value)), value=padding_value) for value in cut])


def _warn_once(extra_keys: list[str]) -> None:
    new_keys = [key for key in extra_keys if key not in _warned_keys]
    if new_keys:
        _warned_keys.update(new_keys)
        warnings.warn(f"Extra keys in batch that will not be padded: {new_keys}", stacklevel=3)
