# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Token, position and token-type embeddings of a packed batch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.device_placement import Placement
from bionemo.llm.model.half_precision import KeepsFloat32
from bionemo.llm.model.plain_layers import init_normal


def sequence_of_each_token(cu_seqlens: Tensor, num_tokens: int) -> Tensor:
    """Return the sequence that each token belongs to, without waiting for the device.

    Args:
        cu_seqlens: [B + 1] int32.
        num_tokens: T, at least the last entry of ``cu_seqlens``.

    Returns:
        [T] int64; a tail that belongs to no sequence counts to the last slot, B - 1.
    """
    tokens = torch.arange(num_tokens, device=cu_seqlens.device, dtype=cu_seqlens.dtype)
    return torch.searchsorted(cu_seqlens[1:-1].contiguous(), tokens, right=True)


class BertEmbedding(KeepsFloat32, nn.Module):
    """Word embeddings and, where the model has them, learned positions, token types and a LayerNorm of the sum.

    Every token is of type 0: that row is added, the others are kept for the checkpoint.

    Args:
        config: Sizes, dropout, kind of positions and place of the norms.
        padded_vocab_size: Rows of the word table.
        vocab_size: Rows that are real tokens; the others stay zero.
        placement: Where the model lies; tensor-parallel ranks share the word table.
    """

    def __init__(
        self, config: BioBertConfig, padded_vocab_size: int, vocab_size: int, placement: Placement | None = None
    ) -> None:
        super().__init__()
        self.dropout = config.hidden_dropout
        self.max_positions = config.seq_length
        self.word_embeddings = word_embeddings(config, padded_vocab_size, vocab_size, placement)
        self.position_embeddings: nn.Embedding | None = None
        if config.position_embedding_type == "learned_absolute":
            self.position_embeddings = nn.Embedding(config.seq_length, config.hidden_size)
            init_normal(self.position_embeddings.weight, config.init_method_std)
        self.token_type_embeddings: nn.Embedding | None = None
        if config.num_token_types:
            self.token_type_embeddings = nn.Embedding(config.num_token_types, config.hidden_size)
            init_normal(self.token_type_embeddings.weight, config.init_method_std)
        self.layer_norm: nn.LayerNorm | None = None
        self.keeps_float32 = config.norm_placement == "post"
        if self.keeps_float32:
            self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)

    def forward(self, input_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Embed the tokens of a packed batch.

        Args:
            input_ids: [T] int64.
            position_ids: [T] int, counted from 0 in each sequence.
            cu_seqlens: [B + 1] int32.

        Returns:
            [T, H].
        """
        embeddings = self.word_embeddings(input_ids)
        if self.position_embeddings is not None:
            embeddings = embeddings + self.position_embeddings(position_ids)
        if self.token_type_embeddings is not None:
            embeddings = embeddings + self.token_type_embeddings(input_ids.new_zeros(1))
        if self.layer_norm is not None:
            embeddings = self.layer_norm(embeddings)
        return F.dropout(embeddings, self.dropout, self.training)


def word_embeddings(
    config: BioBertConfig, padded_vocab_size: int, vocab_size: int, placement: Placement | None
) -> nn.Module:
    """Build the word table; the rows after the real tokens are zero."""
    if placement is not None and placement.is_tensor_parallel:
        from bionemo.llm.model.parallel_layers import vocab_parallel_embedding

        return vocab_parallel_embedding(placement, padded_vocab_size, config.hidden_size)
    embeddings = nn.Embedding(padded_vocab_size, config.hidden_size)
    init_normal(embeddings.weight, config.init_method_std)
    with torch.no_grad():
        embeddings.weight[vocab_size:].zero_()
    return embeddings
