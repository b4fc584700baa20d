# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The three families that are called Geneformer, and their published sizes.

V1 (Theodoris et al. 2023, Nature 618) and V2 (Chen et al. 2024) are post-LN BERTs; BioNeMo's own is a pre-LN Megatron
encoder with another vocabulary and GELU. Weights of one do not fit another.
"""

from typing import Any, NamedTuple

from bionemo.core.errors import ConfigError


class GeneformerVariant(NamedTuple):
    """What all sizes of one family share."""

    norm_placement: str
    activation_func: str
    num_token_types: int
    vocab_size: int
    """Genes and special tokens of the published vocabulary."""
    seq_length: int
    """Longest cell in tokens."""
    hidden_dropout: float
    attention_dropout: float
    pad_token_id: int
    mask_token_id: int
    cls_token_id: int | None
    eos_token_id: int | None
    num_special_tokens: int
    """Ids below it are no genes."""


GENEFORMER_VARIANTS: dict[str, GeneformerVariant] = {
    "V1": GeneformerVariant("post", "relu", 2, 25_426, 2048, 0.02, 0.02, 0, 1, None, None, 2),
    "V2": GeneformerVariant("post", "relu", 2, 20_275, 4096, 0.1, 0.1, 0, 1, 2, 3, 4),
    "BIONEMO": GeneformerVariant("pre", "gelu", 0, 25_429, 2048, 0.02, 0.1, 2, 1, 0, None, 5),
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


def variant_settings(variant: str) -> dict[str, Any]:
    """Fields of a model configuration that a family fixes.

    Raises:
        ConfigError: There is no such family.
    """
    if variant not in GENEFORMER_VARIANTS:
        raise ConfigError(f"Geneformer variant {variant}: not one of {', '.join(GENEFORMER_VARIANTS)}.")
    shared = GENEFORMER_VARIANTS[variant]
    names = (
        "norm_placement activation_func num_token_types vocab_size seq_length hidden_dropout attention_dropout"
    ).split()
    return {"variant": variant, **{name: getattr(shared, name) for name in names}}


def size_settings(size: str) -> dict[str, Any]:
    """Fields of the model configuration of a published size.

    Raises:
        ConfigError: There is no such size.
    """
    if size not in GENEFORMER_SIZES:
        raise ConfigError(f"Geneformer size {size}: not one of {', '.join(GENEFORMER_SIZES)}.")
    shape = GENEFORMER_SIZES[size]
    return {
        **variant_settings(shape.variant),
        "num_layers": shape.num_layers,
        "hidden_size": shape.hidden_size,
        "num_attention_heads": shape.num_attention_heads,
        "ffn_hidden_size": shape.ffn_hidden_size,
    }
