# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The three families that are called Geneformer, and their published sizes.

V1 (Theodoris et al. 2023, Nature 618) and V2 (Chen et al. 2024) are post-LN BERTs; BioNeMo's own is a pre-LN Megatron
encoder with another vocabulary and GELU. Weights of one do not fit another.
"""

from typing import Any, NamedTuple

from bionemo.core.errors import ConfigError
from bionemo.geneformer.tokenizer.variants import VARIANTS


class GeneformerFamily(NamedTuple):
    """What all sizes of one family share; its tokens are in `bionemo.geneformer.tokenizer.variants`."""

    norm_placement: str
    activation_func: str
    num_token_types: int
    vocab_size: int
    """Genes and special tokens of the published vocabulary."""
    hidden_dropout: float
    attention_dropout: float


GENEFORMER_FAMILIES: dict[str, GeneformerFamily] = {
    "V1": GeneformerFamily("post", "relu", 2, 25_426, 0.02, 0.02),
    "V2": GeneformerFamily("post", "relu", 2, 20_275, 0.1, 0.1),
    "BIONEMO": GeneformerFamily("pre", "gelu", 0, 25_429, 0.02, 0.1),
}


class GeneformerSize(NamedTuple):
    """Architecture of one published model."""

    variant: str
    num_layers: int
    hidden_size: int
    num_attention_heads: int
    ffn_hidden_size: int
    num_parameters: int
    """With tied output weights: as Hugging Face counts them (V1, V2), or in Megatron's form with the vocabulary padded
    to a multiple of 128 (BIONEMO)."""


GENEFORMER_SIZES: dict[str, GeneformerSize] = {
    "V1-10M": GeneformerSize("V1", 6, 256, 4, 512, 10_288_722),
    "V1-40M": GeneformerSize("V1", 12, 512, 8, 1024, 39_591_250),
    "V2-104M": GeneformerSize("V2", 12, 768, 12, 3072, 104_386_867),
    "V2-316M": GeneformerSize("V2", 18, 1152, 18, 4608, 316_354_867),
    "BIONEMO-10M": GeneformerSize("BIONEMO", 6, 256, 4, 512, 10_300_032),
    "BIONEMO-106M": GeneformerSize("BIONEMO", 12, 768, 12, 3072, 106_808_960),
}


def family_settings(family: str) -> dict[str, Any]:
    """Fields of a model configuration that a family fixes.

    Raises:
        ConfigError: There is no such family.
    """
    if family not in GENEFORMER_FAMILIES:
        raise ConfigError(f"Geneformer family {family}: not one of {', '.join(GENEFORMER_FAMILIES)}.")
    return {
        "variant": family,
        "seq_length": VARIANTS[family].max_length,
        **GENEFORMER_FAMILIES[family]._asdict(),
    }


def size_settings(size: str) -> dict[str, Any]:
    """Fields of the model configuration of a published size.

    Raises:
        ConfigError: There is no such size.
    """
    if size not in GENEFORMER_SIZES:
        raise ConfigError(f"Geneformer size {size}: not one of {', '.join(GENEFORMER_SIZES)}.")
    shape = GENEFORMER_SIZES[size]
    return {
        **family_settings(shape.variant),
        "num_layers": shape.num_layers,
        "hidden_size": shape.hidden_size,
        "num_attention_heads": shape.num_attention_heads,
        "ffn_hidden_size": shape.ffn_hidden_size,
    }
