# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 with a head that labels whole sequences or residues.

A head sees residues alone, never special tokens or padding, so that a sequence has the same outputs whatever it is
batched with.

Letters: T tokens and N sequences of a packed batch, R residues of all of them, H hidden, O outputs, B, S padded batch.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.esm2.finetuning.head_config import HeadConfig
from bionemo.esm2.model.model import ESM2Config, ESM2Model
from bionemo.llm.data.packing import pack_padded
from bionemo.llm.model.plain_layers import init_normal


KERNEL_SIZE = 7
"""Residues that a convolution sees: three on each side."""


class MegatronMLPHead(nn.Module):
    """Linear layer, ReLU, dropout and linear layer on a pooled sequence (BioNeMo 2 compatible name).

    Inputs are standardized with the mean and the standard deviation that :meth:`standardize` was given: mean
    embeddings share nearly everything, and a head would learn the common part first.

    Args:
        hidden_size: Of the encoder, H.
        config: Sizes and dropout.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(self, hidden_size: int, config: HeadConfig) -> None:
        super().__init__()
        self.register_buffer("input_mean", torch.zeros(hidden_size))
        self.register_buffer("input_std", torch.ones(hidden_size))
        self.dense = nn.Linear(hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.num_outputs)
        self.dropout = config.dropout

    @torch.no_grad()
    def standardize(self, pooled_NH: Tensor) -> None:
        """Set mean and standard deviation of the inputs to those of [N, H] sequences."""
        self.input_mean.copy_(pooled_NH.double().mean(dim=0))
        self.input_std.copy_(pooled_NH.double().std(dim=0, correction=0).clamp(min=1e-6))

    def forward(self, pooled_NH: Tensor) -> Tensor:
        """Return [N, O]."""
        standard_NH = (pooled_NH - self.input_mean) / self.input_std
        hidden = F.dropout(F.relu(self.dense(standard_NH)), self.dropout, self.training)
        outputs: Tensor = self.out_proj(hidden)
        return outputs


class MegatronConvNetHead(nn.Module):
    """Two convolutions over 7 residues with ReLU and dropout in between (BioNeMo 2 compatible name).

    Args:
        hidden_size: Of the encoder, H.
        config: Sizes and dropout.
    """

    def __init__(self, hidden_size: int, config: HeadConfig) -> None:
        super().__init__()
        self.first = nn.Conv1d(hidden_size, config.hidden_size, KERNEL_SIZE, padding=KERNEL_SIZE // 2)
        self.second = nn.Conv1d(config.hidden_size, config.num_outputs, KERNEL_SIZE, padding=KERNEL_SIZE // 2)
        self.dropout = config.dropout

    def forward(self, hidden_RH: Tensor, lengths: Tensor) -> Tensor:
        """Label residues.

        Args:
            hidden_RH: Residues of the sequences, one after the other.
            lengths: [N] int64, residues of each.

        Returns:
            [R, O].
        """
        gap = KERNEL_SIZE // 2  # zeros between two sequences, so that no convolution sees both
        sequence_of_R = torch.repeat_interleave(
            torch.arange(len(lengths), device=lengths.device), lengths, output_size=len(hidden_RH)
        )
        places = torch.arange(len(hidden_RH), device=hidden_RH.device) + gap * sequence_of_R
        num_places = len(hidden_RH) + gap * (len(lengths) - 1)

        def spread(values: Tensor) -> Tensor:
            return values.new_zeros(num_places, values.shape[1]).index_copy(0, places, values).T.unsqueeze(0)

        hidden = F.relu(self.first(spread(hidden_RH))).squeeze(0).T[places]
        hidden = F.dropout(hidden, self.dropout, self.training)
        outputs: Tensor = self.second(spread(hidden)).squeeze(0).T[places]
        return outputs


class SequenceClassificationHead(nn.Module):
    """The head of transformers' ``EsmForSequenceClassification``, on the first token.

    Args:
        hidden_size: Of the encoder, H.
        config: Number of outputs and dropout.
        std: Of the random weights.
    """

    def __init__(self, hidden_size: int, config: HeadConfig, std: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, config.num_outputs)
        self.dropout = config.dropout
        for layer in (self.dense, self.out_proj):
            init_normal(layer.weight, std)
            nn.init.zeros_(layer.bias)

    def forward(self, first_NH: Tensor) -> Tensor:
        """Return [N, O]."""
        hidden = torch.tanh(self.dense(F.dropout(first_NH, self.dropout, self.training)))
        outputs: Tensor = self.out_proj(F.dropout(hidden, self.dropout, self.training))
        return outputs


class TokenClassificationHead(nn.Module):
    """The head of transformers' ``EsmForTokenClassification``: dropout and a linear layer on each residue.

    Args:
        hidden_size: Of the encoder, H.
        config: Number of outputs and dropout.
        std: Of the random weights.
    """

    def __init__(self, hidden_size: int, config: HeadConfig, std: float) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, config.num_outputs)
        self.dropout = config.dropout
        init_normal(self.linear.weight, std)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden_RH: Tensor, lengths: Tensor) -> Tensor:
        """Return [R, O]."""
        outputs: Tensor = self.linear(F.dropout(hidden_RH, self.dropout, self.training))
        return outputs


def build_head(config: HeadConfig, hidden_size: int, std: float) -> nn.Module:
    """Build the head that a configuration describes, with random weights from torch's global generator."""
    if config.level == "sequence":
        if config.kind == "mlp":
            return MegatronMLPHead(hidden_size, config)
        return SequenceClassificationHead(hidden_size, config, std)
    if config.kind == "cnn":
        return MegatronConvNetHead(hidden_size, config)
    return TokenClassificationHead(hidden_size, config, std)


class ESM2WithHead(nn.Module):
    """An ESM-2 that labels sequences or residues.

    Args:
        model: The encoder; ``.model`` afterwards. Its masked-token head is taken off.
        head_config: The head.
    """

    def __init__(self, model: ESM2Model, head_config: HeadConfig) -> None:
        super().__init__()
        model.remove_token_head()
        self.model = model
        self.head_config = head_config
        self.head = build_head(head_config, model.bert_config.hidden_size, model.bert_config.init_method_std)

    @property
    def config(self) -> ESM2Config:
        """Architecture of the encoder."""
        assert isinstance(self.model.bert_config, ESM2Config)
        return self.model.bert_config

    def units_of_sharding(self) -> list[nn.Module]:
        """Modules that sharded ranks gather one at a time; the rest, with the head, is gathered as one more."""
        return self.model.units_of_sharding()

    def forward_packed(self, batch: Mapping[str, Any]) -> Tensor:
        """Run a packed batch.

        Args:
            batch: A ``PackedBatch``; with ``features`` ([N, H] or [R, H] as :meth:`features` gives them) the encoder
                is left out.

        Returns:
            [N, O] of sequences or [R, O] of residues: logits of classes, standardized values of regressions.
        """
        features = batch.get("features")
        if features is None:
            features = self.features(batch)
        if self.head_config.level == "sequence":
            outputs: Tensor = self.head(features)
            return outputs
        cu_seqlens = batch["cu_seqlens"][: batch["num_sequences"] + 1].long()
        outputs = self.head(features, cu_seqlens.diff() - 2)
        return outputs

    def features(self, batch: Mapping[str, Any]) -> Tensor:
        """Return what the head sees: [R, H] residues, or [N, H] sequences: their mean ("mlp") or first token.

        Args:
            batch: A ``PackedBatch``.
        """
        used = slice(0, batch["num_tokens"])
        hidden_TH = self.model.forward_packed(
            batch["input_ids"][used],
            batch["position_ids"][used],
            batch["cu_seqlens"],
            batch["max_seqlen"],
            num_tokens=batch["num_tokens"],
            skip_logits=True,
        ).hidden_states
        cu_seqlens = batch["cu_seqlens"][: batch["num_sequences"] + 1].long()
        if self.head_config.level == "sequence" and self.head_config.kind == "linear":
            first_NH: Tensor = hidden_TH[cu_seqlens[:-1]]
            return first_NH
        lengths = cu_seqlens.diff()
        if self.head_config.level == "residue":
            residues_RH: Tensor = hidden_TH[residue_rows(cu_seqlens, batch["num_tokens"])]
            return residues_RH
        sequence_of_T = torch.repeat_interleave(
            torch.arange(len(lengths), device=lengths.device), lengths, output_size=batch["num_tokens"]
        )
        rows = residue_rows(cu_seqlens, batch["num_tokens"])
        sums_NH = hidden_TH.new_zeros(len(lengths), hidden_TH.shape[1], dtype=torch.float32)
        sums_NH = sums_NH.index_add(0, sequence_of_T[rows], hidden_TH[rows].float())
        mean_NH: Tensor = sums_NH / (lengths - 2).unsqueeze(1)
        return mean_NH

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Run a padded batch.

        Args:
            input_ids: [B, S] int64, each sequence between its two special tokens.
            attention_mask: [B, S], non-zero at real tokens; default: all but the pad token.

        Returns:
            [B, O] of sequences; of residues [B, S, O], zero at special tokens and padding.
        """
        if attention_mask is None:
            attention_mask = input_ids != self.model.pad_token_id
        packed = pack_padded(input_ids, attention_mask)
        outputs = self.forward_packed(packed)
        if self.head_config.level == "sequence":
            return outputs
        is_token = attention_mask.bool()
        rows = is_token.flatten().nonzero().squeeze(1)[residue_rows(packed["cu_seqlens"].long(), packed["num_tokens"])]
        padded = outputs.new_zeros(input_ids.numel(), outputs.shape[1]).index_copy(0, rows, outputs)
        return padded.view(*input_ids.shape, -1)


def residue_rows(cu_seqlens: Tensor, num_tokens: int) -> Tensor:
    """Return the rows of a packed batch that hold residues, [R] int64.

    Args:
        cu_seqlens: [N + 1] int64, where the sequences begin and end, none of them empty.
        num_tokens: The last of them.
    """
    is_residue = torch.ones(num_tokens, dtype=torch.bool, device=cu_seqlens.device)
    is_residue[cu_seqlens[:-1]] = False
    is_residue[cu_seqlens[1:] - 1] = False
    rows: Tensor = is_residue.nonzero().squeeze(1)
    return rows
