# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The six published ESM-2 sizes (Lin et al. 2023, Science 379, table S1; facebook/esm2_* model cards)."""

from typing import NamedTuple


class ESM2Size(NamedTuple):
    """Architecture of one published model."""

    num_layers: int
    hidden_size: int
    num_attention_heads: int
    num_parameters: int
    """With tied output weights and the contact head, as Hugging Face counts them."""

    @property
    def ffn_hidden_size(self) -> int:
        """Width of the feed-forward layer."""
        return 4 * self.hidden_size


ESM2_SIZES: dict[str, ESM2Size] = {
    "8M": ESM2Size(6, 320, 20, 7_512_474),
    "35M": ESM2Size(12, 480, 20, 33_501_394),
    "150M": ESM2Size(30, 640, 20, 148_140_154),
    "650M": ESM2Size(33, 1280, 20, 651_043_254),
    "3B": ESM2Size(36, 2560, 40, 2_839_005_634),
    "15B": ESM2Size(48, 5120, 40, 15_129_100_194),
}
