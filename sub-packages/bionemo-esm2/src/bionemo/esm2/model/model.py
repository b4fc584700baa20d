# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The ESM-2 model (Lin et al. 2023) on the BioBERT encoder."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from bionemo.core.errors import ConfigError
from bionemo.esm2.model.embedding import ESM2Embedding
from bionemo.esm2.model.sizes import ESM2_SIZES
from bionemo.llm.model.biobert.config import BioBertConfig
from bionemo.llm.model.biobert.embedding import BertEmbedding
from bionemo.llm.model.biobert.model import BertOutput, MegatronBioBertModel, ModelTokenizer
from bionemo.llm.model.config import OVERRIDE_BIOBERT_CONFIG_DEFAULTS
from bionemo.llm.model.device_placement import Placement
from bionemo.llm.model.plain_layers import init_normal


if TYPE_CHECKING:
    from bionemo.llm.checkpoints.hf_directory import HuggingFaceLayout


__all__ = ["ESM2Config", "ESM2GenericConfig", "ESM2MaskedLM", "ESM2Model", "esm2_config", "esm_gelu_func"]


def esm_gelu_func(x: Tensor) -> Tensor:
    """Exact erf GELU, as fair-esm computes it."""
    return F.gelu(x)


@dataclass(frozen=True, kw_only=True)
class ESM2Config(BioBertConfig):
    """Architecture of an ESM-2 model; the defaults are those of 650M."""

    default_override_parent_fields: ClassVar[tuple[str, ...]] = (*OVERRIDE_BIOBERT_CONFIG_DEFAULTS, "seq_length")

    num_layers: int = 33
    hidden_size: int = 1280
    num_attention_heads: int = 20
    position_embedding_type: str = "rope"
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    softmax_scale: float | None = 1.0
    share_embeddings_and_output_weights: bool = True
    token_dropout: bool = True
    biobert_spec_option: str = "esm2_bert_layer_with_transformer_engine_spec"

    def __post_init__(self) -> None:
        """Check what ESM-2 fixes, beside the sizes.

        Raises:
            ConfigError: The spec is not an ESM-2 one, or another fixed choice was changed.
        """
        super().__post_init__()
        if not self.biobert_spec_option.startswith("esm2_bert_layer"):
            raise ConfigError(
                f"biobert_spec_option {self.biobert_spec_option}: ESM-2 needs one of its own (esm2_...)."
            )
        if self.position_embedding_type != "rope" or self.softmax_scale != 1.0:
            raise ConfigError(
                "ESM-2 has rotary positions, and softmax_scale 1.0 because the query is scaled before them."
            )

    def hf_layout(self) -> "HuggingFaceLayout[Any]":
        """How checkpoints of ESM-2 name their parameters and settings."""
        from bionemo.esm2.model.hf_layout import ESM2Layout

        return ESM2Layout()

    def model_class(self) -> type["ESM2Model"]:
        """Class of the model that this configuration describes."""
        return ESM2Model


ESM2GenericConfig = ESM2Config


def esm2_config(size: str, **changes: Any) -> ESM2Config:
    """Configuration of a published size.

    Args:
        size: "8M", "35M", "150M", "650M", "3B" or "15B".
        changes: Fields that differ from the published ones.

    Raises:
        ConfigError: There is no such size.
    """
    if size not in ESM2_SIZES:
        raise ConfigError(f"model {size}: not one of {', '.join(ESM2_SIZES)}.")
    shape = ESM2_SIZES[size]
    sizes = {
        "num_layers": shape.num_layers,
        "hidden_size": shape.hidden_size,
        "num_attention_heads": shape.num_attention_heads,
        "ffn_hidden_size": shape.ffn_hidden_size,
    }
    return ESM2Config(**{**sizes, **changes})


class ContactHead(nn.Module):
    """Logistic regression over all attention maps, kept with the model; masked-token training leaves it as it is."""

    def __init__(self, num_attention_maps: int, std: float) -> None:
        super().__init__()
        self.regression = nn.Linear(num_attention_maps, 1)
        init_normal(self.regression.weight, std)
        nn.init.zeros_(self.regression.bias)
        self.requires_grad_(False)


class ESM2Model(MegatronBioBertModel):
    """ESM-2 on packed batches; see :class:`~bionemo.llm.model.biobert.model.MegatronBioBertModel`."""

    def __init__(self, config: ESM2Config, tokenizer: ModelTokenizer, placement: Placement | None = None) -> None:
        super().__init__(config, tokenizer, placement)
        self.contact_head: ContactHead | None = None
        if self.post_process:
            self.contact_head = ContactHead(config.num_layers * config.num_attention_heads, config.init_method_std)

    def build_embedding(self, padded_vocab_size: int, tokenizer: ModelTokenizer) -> BertEmbedding:
        """Build the embedding, with token dropout unless the configuration leaves it out."""
        assert isinstance(self.bert_config, ESM2Config)
        if not self.bert_config.token_dropout:
            return super().build_embedding(padded_vocab_size, tokenizer)
        return ESM2Embedding(
            self.bert_config, padded_vocab_size, tokenizer.vocab_size, tokenizer.mask_token_id, self.placement
        )


class ESM2MaskedLM(nn.Module):
    """ESM-2 as users call it: padded batches in, batch-first logits over the 33 tokens out.

    Args:
        model: The encoder; ``.model`` afterwards.
    """

    def __init__(self, model: ESM2Model) -> None:
        super().__init__()
        self.model = model

    @property
    def config(self) -> ESM2Config:
        """Architecture of the model."""
        assert isinstance(self.model.bert_config, ESM2Config)
        return self.model.bert_config

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> BertOutput:
        """Predict tokens.

        Args:
            input_ids: [B, S] int64.
            attention_mask: [B, S], non-zero at real tokens; default: all but the pad token.
            output_hidden_states: Also return the scaled embedding and every block's output.

        Returns:
            ``token_logits`` [B, S, 33] and ``hidden_states``: None, or L + 1 tensors [B, S, H], the last of them
            after the final LayerNorm. Padding is zero.
        """
        return self.model.forward_padded(input_ids, attention_mask, output_hidden_states=output_hidden_states)
