# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The configuration of a Geneformer model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from bionemo.core.errors import ConfigError
from bionemo.geneformer.model.sizes import GENEFORMER_FAMILIES, family_settings, size_settings
from bionemo.geneformer.tokenizer.variants import VARIANTS, Variant
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.config import OVERRIDE_BIOBERT_CONFIG_DEFAULTS


if TYPE_CHECKING:
    from bionemo.llm.checkpoints.hf_directory import HuggingFaceLayout


class ModelVocabulary(NamedTuple):
    """What a model needs to know of its vocabulary."""

    vocab_size: int
    mask_token_id: int
    pad_token_id: int


@dataclass(frozen=True, kw_only=True)
class GeneformerConfig(BioBertConfig):
    """Architecture of a Geneformer model; the defaults are those of BioNeMo's 10M.

    ``variant`` names the family, which fixes the special tokens and where the norms stand; use
    :func:`geneformer_config` to start from a published size or family. ``vocabulary_fingerprint`` is
    `GeneTokenizer.fingerprint` of the vocabulary that the model was trained with, where it is known.
    """

    default_override_parent_fields: ClassVar[tuple[str, ...]] = OVERRIDE_BIOBERT_CONFIG_DEFAULTS

    variant: str = "BIONEMO"
    vocab_size: int = 25_429
    vocabulary_fingerprint: str | None = None
    num_layers: int = 6
    hidden_size: int = 256
    num_attention_heads: int = 4
    ffn_hidden_size: int | None = 512
    seq_length: int = 2048
    hidden_dropout: float = 0.02
    attention_dropout: float = 0.1
    layernorm_epsilon: float = 1e-12
    share_embeddings_and_output_weights: bool = True

    def __post_init__(self) -> None:
        """Check what Geneformer fixes, beside the sizes.

        Raises:
            ConfigError: The family is unknown or contradicts the place of the norms, or positions are not learned.
        """
        super().__post_init__()
        expected = family_settings(self.variant)["norm_placement"]
        if self.norm_placement != expected:
            raise ConfigError(
                f"norm_placement {self.norm_placement}: Geneformer {self.variant} has {expected}. "
                "Use geneformer_config(variant) for a family's settings."
            )
        if self.position_embedding_type != "learned_absolute" or not self.share_embeddings_and_output_weights:
            raise ConfigError("Geneformer has learned positions and an output layer tied to the word embeddings.")
        if self.vocab_size <= len(self.tokens.special_tokens):
            raise ConfigError(f"vocab_size {self.vocab_size}: leaves no gene beside the special tokens.")

    @property
    def tokens(self) -> Variant:
        """How the family writes a cell as tokens."""
        return VARIANTS[self.variant]

    @property
    def vocabulary(self) -> ModelVocabulary:
        """What building a model takes from a tokenizer."""
        ids = {token: token_id for token_id, token in enumerate(self.tokens.special_tokens)}
        return ModelVocabulary(self.vocab_size, ids[self.tokens.mask_token], ids[self.tokens.pad_token])

    def hf_layout(self) -> "HuggingFaceLayout[Any]":
        """How checkpoints of Geneformer name their parameters and settings."""
        from bionemo.geneformer.model.hf_layout import GeneformerLayout

        return GeneformerLayout()


def geneformer_config(name: str, **changes: Any) -> GeneformerConfig:
    """Configuration of a published size or of a family.

    Args:
        name: A size ("V1-10M", "V1-40M", "V2-104M", "V2-316M", "BIONEMO-10M", "BIONEMO-106M"), or a family ("V1",
            "V2", "BIONEMO") whose sizes are then those of ``changes`` or the 10M ones.
        changes: Fields that differ.

    Raises:
        ConfigError: There is no such size, or a change contradicts the family.
    """
    settings = family_settings(name) if name in GENEFORMER_FAMILIES else size_settings(name)
    return GeneformerConfig(**{**settings, **changes})
