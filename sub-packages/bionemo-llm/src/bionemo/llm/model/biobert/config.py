# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The configuration of a BioBERT model and its one translation to Megatron's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F

from bionemo.core.errors import ConfigError
from bionemo.llm.model.activations import gelu
from bionemo.llm.model.config import OVERRIDE_BIOBERT_CONFIG_DEFAULTS, MegatronBioNeMoTrainableModelConfig


if TYPE_CHECKING:
    from megatron.core.transformer.transformer_config import TransformerConfig

    from bionemo.llm.model.biobert.model import MegatronBioBertModel


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"gelu": gelu, "relu": F.relu}
POSITION_KINDS = ("learned_absolute", "rope")
NORM_PLACEMENTS = ("pre", "post")


@dataclass(frozen=True, kw_only=True)
class BioBertConfig(MegatronBioNeMoTrainableModelConfig):
    """Architecture of a BERT-family encoder with a masked-token head; plain values only.

    ``activation_func`` may be given as torch's function and is kept by name ("gelu" is the exact erf form).
    ``norm_placement`` "pre" normalizes what enters attention and feed-forward, and once more at the end (Megatron);
    "post" normalizes each residual sum and the embedding (the original BERT).
    """

    default_override_parent_fields: ClassVar[tuple[str, ...]] = OVERRIDE_BIOBERT_CONFIG_DEFAULTS

    num_layers: int = 6
    hidden_size: int = 512
    num_attention_heads: int = 8
    ffn_hidden_size: int | None = None
    seq_length: int = 1024
    make_vocab_size_divisible_by: int = 128
    position_embedding_type: str = "learned_absolute"
    rotary_base: float = 10_000.0
    norm_placement: str = "pre"
    num_token_types: int = 0
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    layernorm_epsilon: float = 1e-5
    init_method_std: float = 0.02
    activation_func: str | Callable[[torch.Tensor], torch.Tensor] = "gelu"
    softmax_scale: float | None = None
    qk_layernorm: bool = False
    share_embeddings_and_output_weights: bool = False
    biobert_spec_option: str = "bert_layer_with_transformer_engine_spec"
    return_embeddings: bool = False
    include_embeddings: bool = False
    include_hiddens: bool = False
    include_input_ids: bool = False
    skip_logits: bool = False

    def __post_init__(self) -> None:
        """Normalize names and refuse impossible sizes.

        Raises:
            ConfigError: A size does not fit another one, or a name is unknown.
        """
        activation = self.activation_func
        name = activation if isinstance(activation, str) else getattr(activation, "__name__", str(activation))
        name = {"esm_gelu_func": "gelu"}.get(name, name)
        if name not in ACTIVATIONS:
            raise ConfigError(f"activation_func {name}: not one of {sorted(ACTIVATIONS)}.")
        object.__setattr__(self, "activation_func", name)
        object.__setattr__(
            self, "biobert_spec_option", str(getattr(self.biobert_spec_option, "value", self.biobert_spec_option))
        )
        if self.ffn_hidden_size is None:
            object.__setattr__(self, "ffn_hidden_size", 4 * self.hidden_size)
        for field in ("num_layers", "hidden_size", "num_attention_heads", "ffn_hidden_size", "seq_length"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} {getattr(self, field)}: must be at least 1.")
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"hidden_size {self.hidden_size} is not divisible by num_attention_heads {self.num_attention_heads}."
            )
        if self.position_embedding_type not in POSITION_KINDS:
            raise ConfigError(f"position_embedding_type {self.position_embedding_type}: not one of {POSITION_KINDS}.")
        if self.norm_placement not in NORM_PLACEMENTS:
            raise ConfigError(f"norm_placement {self.norm_placement}: not one of {NORM_PLACEMENTS}.")
        if self.position_embedding_type == "rope" and self.head_dim % 2:
            raise ConfigError(
                f"hidden_size / num_attention_heads = {self.head_dim}: rotary positions need an even number."
            )

    @property
    def head_dim(self) -> int:
        """Hidden size of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def has_dropout(self) -> bool:
        """Whether training draws random numbers on the device."""
        return max(self.hidden_dropout, self.attention_dropout) > 0

    def padded_vocab_size(self, vocab_size: int, tensor_model_parallel_size: int = 1) -> int:
        """Rows of the embedding table: the vocabulary rounded up, so that tensor-parallel ranks share it evenly."""
        multiple = self.make_vocab_size_divisible_by * tensor_model_parallel_size
        return -(-vocab_size // multiple) * multiple

    def configure_model(self, tokenizer: Any) -> "MegatronBioBertModel":
        """Build the model for a tokenizer, with architecture and weights of ``initial_ckpt_path`` where one is given.

        Args:
            tokenizer: Vocabulary size and special ids.

        Raises:
            CheckpointError: The initial checkpoint is damaged or does not fit.
        """
        from bionemo.llm.model.biobert.model import build_model

        if self.initial_ckpt_path is None:
            return build_model(self, tokenizer)
        config = self.load_settings_from_checkpoint(self.initial_ckpt_path)
        model = build_model(config, tokenizer)
        if not self.initial_ckpt_path_ignore_weights:
            config.update_model_from_checkpoint(model, self.initial_ckpt_path)
        return model

    def model_class(self) -> type["MegatronBioBertModel"]:
        """Class of the model that this configuration describes."""
        from bionemo.llm.model.biobert.model import MegatronBioBertModel

        return MegatronBioBertModel


def check_same_shape(stored: BioBertConfig, wanted: BioBertConfig, source: Path) -> None:
    """Refuse to resume with a model of another architecture.

    Args:
        stored: Architecture in the checkpoint.
        wanted: Architecture that the flags describe.
        source: The checkpoint, to name it in the error.

    Raises:
        ConfigError: They differ.
    """
    if replace(stored, biobert_spec_option=wanted.biobert_spec_option) != wanted:
        raise ConfigError(f"{source}: holds a model of another shape than the flags describe; give the run's own.")


def to_megatron(config: BioBertConfig, **parallel: Any) -> "TransformerConfig":
    """Translate to Megatron-core's transformer config; every fusion is off (its fused GELU is the tanh form).

    Args:
        config: The architecture.
        parallel: Further fields of Megatron's config: sizes and switches of model parallelism.
    """
    from megatron.core.transformer.transformer_config import TransformerConfig

    assert isinstance(config.activation_func, str)
    return TransformerConfig(
        num_layers=config.num_layers,
        hidden_size=config.hidden_size,
        num_attention_heads=config.num_attention_heads,
        ffn_hidden_size=config.ffn_hidden_size,
        hidden_dropout=config.hidden_dropout,
        attention_dropout=config.attention_dropout,
        layernorm_epsilon=config.layernorm_epsilon,
        init_method_std=config.init_method_std,
        activation_func=ACTIVATIONS[config.activation_func],
        softmax_scale=config.softmax_scale,
        qk_layernorm=config.qk_layernorm,
        apply_query_key_layer_scaling=False,
        attention_softmax_in_fp32=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        persist_layer_norm=False,
        apply_rope_fusion=False,
        gradient_accumulation_fusion=False,
        use_cpu_initialization=True,
        params_dtype=torch.float32,
        **parallel,
    )
