# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2's embedding: word vectors with token dropout, in training and inference (Rives et al. 2021; fair-esm)."""

import torch
from torch import Tensor

from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.embedding import BertEmbedding, sequence_of_each_token
from bionemo.llm.model.device_placement import Placement


ESM2_MASK_RATIO_TRAIN = 0.15 * 0.8
"""Share of a training sequence that is the mask token: what token dropout rescales to."""


class ESM2Embedding(BertEmbedding):
    """Word embeddings, zero at masks and scaled by each sequence's own share of masks.

    Every row is multiplied by (1 - 0.12) / (1 - masks / length), where the length counts the sequence's special
    tokens too. The ratio is taken per sequence, never per packed batch.

    Args:
        config: Sizes.
        padded_vocab_size: Rows of the word table.
        vocab_size: Rows that are real tokens.
        mask_token_id: Id of the mask token.
        placement: Where the model lies.
    """

    def __init__(
        self,
        config: BioBertConfig,
        padded_vocab_size: int,
        vocab_size: int,
        mask_token_id: int,
        placement: Placement | None = None,
    ) -> None:
        super().__init__(config, padded_vocab_size, vocab_size, placement)
        self.mask_token_id = mask_token_id

    def forward(self, input_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Embed the tokens of a packed batch; its tail comes out zero.

        Args:
            input_ids: [T] int64.
            position_ids: [T] int, counted from 0 in each sequence.
            cu_seqlens: [B + 1] int32.

        Returns:
            [T, H].
        """
        embeddings = super().forward(input_ids, position_ids, cu_seqlens)
        is_mask = input_ids == self.mask_token_id
        scale = self.row_scale(is_mask, cu_seqlens)
        return embeddings * scale.to(embeddings.dtype).unsqueeze(-1)

    def row_scale(self, is_mask: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Factor of each token's row, [T] float32: zero at masks and in the tail."""
        ends = cu_seqlens.long()
        masks_before = torch.cat((is_mask.new_zeros(1, dtype=torch.int64), is_mask.cumsum(0)))
        num_masks = masks_before[ends[1:]] - masks_before[ends[:-1]]
        ratio = num_masks.float() / ends.diff().clamp(min=1).float()
        scale = ((1.0 - ESM2_MASK_RATIO_TRAIN) / (1.0 - ratio))[sequence_of_each_token(cu_seqlens, len(is_mask))]
        in_tail = torch.arange(len(is_mask), device=is_mask.device) >= ends[-1]
        return scale.masked_fill(is_mask | in_tail, 0.0)
