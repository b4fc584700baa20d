# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Masked-language-model masking: 15 % of the tokens selected, of these 80 % become the mask token.

Two doors with the same statistics. `apply_bert_pretraining_mask` draws one sample from a torch generator, in the order
that BioNeMo 2 compatible seeds depend on. `mask_pack` draws a whole packed batch from a hash of (seed, epoch, sample,
position).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bionemo.core.errors import ConfigError, DataError
from bionemo.core.randomness import Stream
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.data.hashed_draws import sample_keys, token_words
from bionemo.llm.data.types import Tokenizer


_HALF_WORD = 2**32


@dataclass(frozen=True)
class BertMaskConfig:
    """How one sample is masked.

    Attributes:
        tokenizer: Gives the mask id and the special ids, which are never selected.
        random_tokens: Ids from which replacements are drawn.
        mask_prob: Masking probability: fraction of the tokens selected for the loss.
        mask_token_prob: Probability that a selected token is replaced by the mask token.
        random_token_prob: Probability that a selected token is replaced by a random token; the rest keeps its
            identity.
    """

    tokenizer: Tokenizer
    random_tokens: range
    mask_prob: float = 0.15
    mask_token_prob: float = 0.8
    random_token_prob: float = 0.1

    def __post_init__(self) -> None:
        """Check the probabilities.

        Raises:
            ConfigError: A probability is outside [0, 1], or the two shares exceed 1 together.
        """
        _check_probabilities(self.mask_prob, self.mask_token_prob, self.random_token_prob)


@dataclass(frozen=True, kw_only=True)
class PackMasking:
    """How packed batches are masked: plain values, so that it can be saved beside a run.

    Attributes:
        seed: Seed of the mask stream.
        mask_token_id: Mask token id.
        special_ids: Ids that are never selected.
        random_token_ids: Ids from which replacements are drawn; a range where a vocabulary is large.
        mask_prob: Masking probability: fraction of the tokens selected for the loss.
        mask_token_prob: Probability that a selected token is replaced by the mask token. The selection does not depend
            on it:
            with 1.0 the same tokens are selected and every one is masked, as `val_loss_masked` needs.
        random_token_prob: Probability that a selected token is replaced by a random token; the rest keeps its
            identity.
    """

    seed: int
    mask_token_id: int
    special_ids: tuple[int, ...]
    random_token_ids: tuple[int, ...] | range
    mask_prob: float = 0.15
    mask_token_prob: float = 0.8
    random_token_prob: float = 0.1

    def __post_init__(self) -> None:
        """Check the probabilities and that there is something to draw from.

        Raises:
            ConfigError: A probability is outside [0, 1], the two shares exceed 1 together, or no random id is given
                although random replacements are asked for.
        """
        _check_probabilities(self.mask_prob, self.mask_token_prob, self.random_token_prob)
        if self.random_token_prob > 0 and not self.random_token_ids:
            raise ConfigError("random_token_ids is empty, but random_token_prob is above 0. Name ids to draw from.")


class PackMask(NamedTuple):
    """What masking does to a packed batch."""

    positions: NDArray[np.int64]
    """[M] int64, ascending places of the selected tokens."""

    replacement_ids: NDArray[np.int64]
    """[M] int64, what the model reads there."""

    original_ids: NDArray[np.int64]
    """[M] int64, what was there."""


def mask_pack(
    tokens: NDArray[np.integer],
    lengths: NDArray[np.int64],
    sample_idx: NDArray[np.int64],
    *,
    epoch: int,
    masking: PackMasking,
) -> PackMask:
    """Select and replace tokens of a packed batch: a pure function of (seed, epoch, sample, position in the sample).

    Args:
        tokens: [n] integers, the samples one after the other.
        lengths: [B] int64, tokens of each sample; their sum is n.
        sample_idx: [B] int64, index of each sample, which with the epoch fixes its mask in whatever pack it lies.
        epoch: Epoch, counted from 0.
        masking: Probabilities, ids and seed.

    Returns:
        The selected places and what the model reads there.
    """
    words = token_words(sample_keys(masking.seed, Stream.MASK, epoch, sample_idx), lengths)
    # The upper half of a word is the uniform draw r of the published procedure, the lower half names the random token.
    last_selected = (round(masking.mask_prob * _HALF_WORD) << 32) - 1
    positions = np.flatnonzero(words <= np.uint64(max(last_selected, 0)))
    originals = tokens[positions].astype(np.int64)
    ordinary = np.ones(len(positions), dtype=bool)
    for special_id in masking.special_ids:
        ordinary &= originals != special_id
    if not ordinary.all():
        positions, originals = positions[ordinary], originals[ordinary]
    draw = words[positions] >> np.uint64(32)
    hide_below = np.uint64(round(masking.mask_prob * masking.mask_token_prob * _HALF_WORD))
    replace_below = np.uint64(
        round(masking.mask_prob * (masking.mask_token_prob + masking.random_token_prob) * _HALF_WORD)
    )
    replacement_ids = originals.copy()
    hidden = draw < hide_below
    replaced = np.flatnonzero((draw < replace_below) & ~hidden)
    replacement_ids[hidden] = masking.mask_token_id
    if len(replaced):
        choices = masking.random_token_ids
        lower_half = words[positions[replaced]] & np.uint64(_HALF_WORD - 1)
        chosen = ((lower_half * np.uint64(len(choices))) >> np.uint64(32)).astype(np.int64)
        if isinstance(choices, range):  # a whole vocabulary is not listed for every pack
            replacement_ids[replaced] = choices.start + choices.step * chosen
        else:
            replacement_ids[replaced] = np.asarray(choices, dtype=np.int64)[chosen]
    return PackMask(positions, replacement_ids, originals)


def apply_bert_pretraining_mask(
    tokenized_sequence: torch.Tensor, random_seed: int, mask_config: BertMaskConfig
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mask one sample. The order of the draws is fixed: one `rand` for all tokens, then one `randint` for all randoms.

    Args:
        tokenized_sequence: [S] integer ids.
        random_seed: Seed of the generator.
        mask_config: Tokenizer and probabilities.

    Returns:
        masked: [S] int64, ids after masking.
        labels: [S] int64, original ids where selected, else -100.
        loss_mask: [S] bool, the selected tokens.

    Raises:
        DataError: The tokenizer has no mask token.
        ConfigError: The probabilities of the configuration are impossible.
    """
    mask_token_id = mask_config.tokenizer.mask_token_id
    if mask_token_id is None:
        raise DataError("Tokenizer must have a mask token: its mask_token_id is None.")
    _check_probabilities(mask_config.mask_prob, mask_config.mask_token_prob, mask_config.random_token_prob)
    original = tokenized_sequence.to(torch.int64)
    generator = torch.Generator().manual_seed(random_seed)
    uniform = torch.rand(len(original), generator=generator)
    special_ids = torch.tensor(mask_config.tokenizer.all_special_ids, dtype=torch.int64)
    ordinary = ~torch.isin(original, special_ids)
    loss_mask = (uniform < mask_config.mask_prob) & ordinary
    hide_below = mask_config.mask_prob * mask_config.mask_token_prob
    replace_below = mask_config.mask_prob * (mask_config.mask_token_prob + mask_config.random_token_prob)
    masked = original.clone()
    masked[(uniform < hide_below) & ordinary] = mask_token_id
    random_mask = (uniform >= hide_below) & (uniform < replace_below) & ordinary
    choices = mask_config.random_tokens
    masked[random_mask] = torch.randint(
        choices.start, choices.stop, (int(random_mask.sum()),), generator=generator, dtype=torch.int64
    )
    labels = torch.where(loss_mask, original, MLM_LOSS_IGNORE_INDEX)
    return masked, labels, loss_mask


def add_cls_and_eos_tokens(
    sequence: torch.Tensor,
    labels: torch.Tensor,
    loss_mask: torch.Tensor,
    cls_token: int | None = None,
    eos_token: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Put the given special tokens around a masked sample; they carry no loss.

    Args:
        sequence: [S] int64.
        labels: [S] int64.
        loss_mask: [S] bool.
        cls_token: Id to prepend, or None.
        eos_token: Id to append, or None.

    Returns:
        The three tensors, longer by the tokens given; the label of an added token is -100.
    """

    def around(values: torch.Tensor, first: int | bool | None, last: int | bool | None) -> torch.Tensor:
        ends = [values.new_tensor([] if end is None else [end]) for end in (first, last)]
        return torch.cat([ends[0], values, ends[1]])

    has_cls, has_eos = cls_token is not None, eos_token is not None
    ignore, no_loss = MLM_LOSS_IGNORE_INDEX, False
    return (
        around(sequence, cls_token, eos_token),
        around(labels, ignore if has_cls else None, ignore if has_eos else None),
        around(loss_mask, no_loss if has_cls else None, no_loss if has_eos else None),
    )


def _check_probabilities(mask_prob: float, mask_token_prob: float, random_token_prob: float) -> None:
    shares = {"mask_prob": mask_prob, "mask_token_prob": mask_token_prob, "random_token_prob": random_token_prob}
    for name, value in shares.items():
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"{name} must lie between 0 and 1, found {value}.")
    if random_token_prob + mask_token_prob > 1.0 + 1e-9:
        raise ConfigError(
            f"Sum of random_token_prob and mask_token_prob must be at most 1.0, "
            f"found {random_token_prob} + {mask_token_prob}."
        )
