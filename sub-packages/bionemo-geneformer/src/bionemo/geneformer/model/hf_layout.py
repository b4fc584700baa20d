# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Geneformer in Hugging Face's files: V1 and V2 as ``BertForMaskedLM``, BioNeMo's as ``MegatronBertForMaskedLM``."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.geneformer.model.config import GeneformerConfig
from bionemo.geneformer.model.dictionary_files import save_model_dictionaries
from bionemo.geneformer.model.nemo_form import GeneformerNemoForm
from bionemo.geneformer.tokenizer.variants import V1
from bionemo.llm.checkpoints.hf_names import with_current_names
from bionemo.llm.checkpoints.hf_tensors import QKV, TensorReader, split_qkv
from bionemo.llm.checkpoints.json_files import ConfigValues
from bionemo.llm.checkpoints.lazy_tensors import LazyTensors, in_memory


if TYPE_CHECKING:
    from bionemo.geneformer.data.dictionaries import Dictionaries


logger = logging.getLogger(__name__)

MODEL_TYPES = {"post": "bert", "pre": "megatron-bert"}
ARCHITECTURES = {"post": "BertForMaskedLM", "pre": "MegatronBertForMaskedLM"}
FINAL_NORMS = {
    "post": ("embedding.layer_norm", "bert.embeddings.LayerNorm"),
    "pre": ("encoder.final_layernorm", "bert.encoder.ln"),
}
LAYER_NORMS = {
    "post": {
        "self_attn_bda.layer_norm": "attention.output.LayerNorm",
        "mlp_bda.layer_norm": "output.LayerNorm",
    },
    "pre": {"input_layernorm": "attention.ln", "pre_mlp_layernorm": "ln"},
}
LAYER_LINEARS = {
    "self_attention.linear_proj": "attention.output.dense",
    "mlp.linear_fc1": "intermediate.dense",
    "mlp.linear_fc2": "output.dense",
}
HEAD_NAMES = {
    "lm_head.dense": "cls.predictions.transform.dense",
    "lm_head.layer_norm": "cls.predictions.transform.LayerNorm",
}
WORD_EMBEDDINGS = ("embedding.word_embeddings.weight", "bert.embeddings.word_embeddings.weight")
POSITION_EMBEDDINGS = ("embedding.position_embeddings.weight", "bert.embeddings.position_embeddings.weight")
TOKEN_TYPES = ("embedding.token_type_embeddings.weight", "bert.embeddings.token_type_embeddings.weight")
OUTPUT_BIAS = ("output_layer.bias", "cls.predictions.bias")
DECODER_COPIES = {"cls.predictions.decoder.weight": WORD_EMBEDDINGS[0], "cls.predictions.decoder.bias": OUTPUT_BIAS[0]}
IGNORED_SUFFIXES = ("embeddings.position_ids",)
TASK_HEAD_PREFIXES = ("bert.pooler.", "gene_mean_pooler.", "classifier.", "cls.seq_relationship.")
"""Of fine-tuned models, of ``BertModel`` and of ``BertForPreTraining``; the encoder is read without them."""
SECOND_HEAD_PREFIX = "regression_head."
"""Of the example of a second objective, beside the masked-token head."""
OTHER_HEADS = (*TASK_HEAD_PREFIXES, SECOND_HEAD_PREFIX)
HF_TOKEN_TYPES = 2
"""Rows that a file has where our model has none: zeros, because transformers' classes always add row 0."""


def renamed_parameters(config: GeneformerConfig, *, token_head: bool) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Iterate over (our name, Hugging Face's name, shape) of all parameters that only change their name."""
    hidden, ffn = config.hidden_size, config.ffn_hidden_size
    assert ffn is not None
    yield (*POSITION_EMBEDDINGS, (config.seq_length, hidden))
    if config.num_token_types:
        yield (*TOKEN_TYPES, (config.num_token_types, hidden))

    def pair(own: str, theirs: str, rows: int, *columns: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        yield f"{own}.weight", f"{theirs}.weight", (rows, *columns)
        yield f"{own}.bias", f"{theirs}.bias", (rows,)

    yield from pair(*FINAL_NORMS[config.norm_placement], hidden)
    for layer in range(config.num_layers):
        own_layer, their_layer = f"encoder.layers.{layer}", f"bert.encoder.layer.{layer}"
        for own, theirs in LAYER_NORMS[config.norm_placement].items():
            yield from pair(f"{own_layer}.{own}", f"{their_layer}.{theirs}", hidden)
        shapes = ((hidden, hidden), (ffn, hidden), (hidden, ffn))
        for (own, theirs), shape in zip(LAYER_LINEARS.items(), shapes, strict=True):
            yield from pair(f"{own_layer}.{own}", f"{their_layer}.{theirs}", *shape)
    if token_head:
        for (own, theirs), columns in zip(HEAD_NAMES.items(), ((hidden,), ()), strict=True):
            yield from pair(own, theirs, hidden, *columns)


def qkv_names(layer: int, kind: str) -> tuple[str, list[str]]:
    """Our name of a layer's fused attention input, and Hugging Face's three."""
    theirs = [f"bert.encoder.layer.{layer}.attention.self.{part}.{kind}" for part in QKV]
    return f"encoder.layers.{layer}.self_attention.linear_qkv.{kind}", theirs


class GeneformerLayout:
    """Names of Geneformer in Hugging Face's files; see ``bionemo.llm.checkpoints.hf_directory.HuggingFaceLayout``.

    Args:
        dictionaries: The vocabulary and what belongs to it, saved with every model; None saves none.
    """

    other_forms = (GeneformerNemoForm(),)

    def __init__(self, dictionaries: "Dictionaries | None" = None) -> None:
        self.dictionaries = dictionaries

    def tensors_to_hf(self, state: Mapping[str, Tensor], config: GeneformerConfig) -> dict[str, Tensor]:
        """Rename a state dict, with or without a masked-token head.

        The fused query, key and value are taken apart, the vocabulary's padding is dropped.
        """
        token_head = OUTPUT_BIAS[0] in state
        tensors = {theirs: state[own] for own, theirs, _ in renamed_parameters(config, token_head=token_head)}
        for own, theirs in (WORD_EMBEDDINGS, OUTPUT_BIAS) if token_head else (WORD_EMBEDDINGS,):
            tensors[theirs] = state[own][: config.vocab_size]
        if not config.num_token_types:
            tensors[TOKEN_TYPES[1]] = torch.zeros(HF_TOKEN_TYPES, config.hidden_size)
        for layer in range(config.num_layers):
            for kind in ("weight", "bias"):
                fused, parts = qkv_names(layer, kind)
                tensors |= zip(parts, split_qkv(state[fused], config.num_attention_heads).values(), strict=True)
        return tensors

    def tensors_from_hf(self, tensors: Mapping[str, Tensor], config: GeneformerConfig) -> LazyTensors:
        """Rename a file's tensors to our state dict; of a fine-tuned or base model's, those of the encoder.

        Raises:
            CheckpointError: A tensor is missing, has an unknown name or another shape than the config says.
        """
        named = with_current_names(LazyTensors.of(tensors), "bert")
        token_head = any(name.startswith("cls.predictions.") for name in named)
        if not token_head:
            logger.warning("The weights hold no masked-token head: the model gives hidden states and no logits.")
        reader = TensorReader(named, IGNORED_SUFFIXES, OTHER_HEADS)
        renamed = renamed_parameters(config, token_head=token_head)
        state = {own: reader.take(theirs, *shape) for own, theirs, shape in renamed}
        tables = ((WORD_EMBEDDINGS, (config.hidden_size,)), (OUTPUT_BIAS, ()))
        for (own, theirs), columns in tables if token_head else tables[:1]:
            padded = config.padded_vocab_size(config.vocab_size)
            state[own] = reader.take_rows(theirs, config.vocab_size, padded, *columns)
        if not config.num_token_types:
            # transformers trains the row that it adds to every position; our model adds it with the position.
            unused = reader.take(TOKEN_TYPES[1], HF_TOKEN_TYPES, config.hidden_size).read()
            positions = state[POSITION_EMBEDDINGS[0]].read() + unused[0]
            state[POSITION_EMBEDDINGS[0]] = in_memory(positions)
        for layer in range(config.num_layers):
            for kind, columns in (("weight", (config.hidden_size,)), ("bias", ())):
                fused, names = qkv_names(layer, kind)
                state[fused] = reader.take_qkv(names, config.num_attention_heads, config.hidden_size, *columns)
        if token_head:
            for name, tied in DECODER_COPIES.items():
                reader.check_tied(name, state[tied], config.vocab_size)
        reader.finish("Geneformer")
        return LazyTensors(state)

    def state_from_megatron(self, tensors: Mapping[str, Tensor], config: GeneformerConfig) -> LazyTensors:
        """Check the tensors of a Megatron model, and pad its vocabulary as ours.

        Args:
            tensors: Under Megatron's names, layer by layer.
            config: Architecture.

        Raises:
            CheckpointError: A tensor is missing, has an unknown name or another shape than the config says.
        """
        reader = TensorReader(tensors, asked_by="the model's configuration")
        token_head = OUTPUT_BIAS[0] in reader.remaining
        if not token_head:
            logger.warning("The weights hold no masked-token head: the model gives hidden states and no logits.")
        hidden, padded = config.hidden_size, config.padded_vocab_size(config.vocab_size)
        renamed = renamed_parameters(config, token_head=token_head)
        state = {own: reader.take(own, *shape) for own, _, shape in renamed}
        for (own, _), columns in ((WORD_EMBEDDINGS, (hidden,)), (OUTPUT_BIAS, ()))[: 1 + token_head]:
            state[own] = reader.take_padded_rows(own, config.vocab_size, padded, *columns)
        for layer in range(config.num_layers):
            for kind, columns in (("weight", (hidden,)), ("bias", ())):
                fused, _ = qkv_names(layer, kind)
                state[fused] = reader.take(fused, len(QKV) * hidden, *columns)
        reader.finish("Geneformer")
        return LazyTensors(state)

    def config_to_hf(self, config: GeneformerConfig) -> dict[str, Any]:
        """Return config.json, every value written, and our own beside transformers'."""
        return {
            "architectures": [ARCHITECTURES[config.norm_placement]],
            "model_type": MODEL_TYPES[config.norm_placement],
            "geneformer_variant": config.variant,
            "vocabulary_fingerprint": config.vocabulary_fingerprint,
            "num_token_types": config.num_token_types,
            "vocab_size": config.vocab_size,
            "pad_token_id": config.vocabulary.pad_token_id,
            "hidden_size": config.hidden_size,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_attention_heads,
            "intermediate_size": config.ffn_hidden_size,
            "hidden_act": config.activation_func,
            "hidden_dropout_prob": float(config.hidden_dropout),
            "attention_probs_dropout_prob": float(config.attention_dropout),
            "max_position_embeddings": config.seq_length,
            "type_vocab_size": config.num_token_types or HF_TOKEN_TYPES,
            "initializer_range": config.init_method_std,
            "layer_norm_eps": config.layernorm_epsilon,
            "position_embedding_type": "absolute",
            "tie_word_embeddings": True,
            "use_cache": True,
            "torch_dtype": "float32",
        }

    def config_from_hf(self, values: Mapping[str, Any], source: str) -> GeneformerConfig:
        """Read config.json, ours or that of any BERT of transformers.

        Raises:
            CheckpointError: It is not a BERT masked-language model, or lacks a size.
        """
        placements = {model_type: placement for placement, model_type in MODEL_TYPES.items()}
        placement = placements.get(str(values.get("model_type")))
        if placement is None:
            raise CheckpointError(
                f"{source}: config.json says model_type {values.get('model_type')!r}, expected one of "
                f"{', '.join(placements)}."
            )
        if values.get("position_embedding_type", "absolute") != "absolute" or values.get("is_decoder"):
            raise CheckpointError(f"{source}: config.json describes no encoder with absolute positions.")
        read = ConfigValues(values, source)
        seq_length = read.size("max_position_embeddings")
        fingerprint = values.get("vocabulary_fingerprint")
        try:
            return GeneformerConfig(
                variant=read.text("geneformer_variant", guess_variant(placement, seq_length)),
                norm_placement=placement,
                num_token_types=read.count("num_token_types", read.count("type_vocab_size", 2)),
                vocab_size=read.size("vocab_size"),
                vocabulary_fingerprint=None if fingerprint is None else read.text("vocabulary_fingerprint"),
                num_layers=read.size("num_hidden_layers"),
                hidden_size=read.size("hidden_size"),
                num_attention_heads=read.size("num_attention_heads"),
                ffn_hidden_size=read.size("intermediate_size"),
                seq_length=seq_length,
                activation_func=read.text("hidden_act"),
                hidden_dropout=read.number("hidden_dropout_prob"),
                attention_dropout=read.number("attention_probs_dropout_prob"),
                layernorm_epsilon=read.number("layer_norm_eps"),
                init_method_std=read.number("initializer_range", 0.02),
            )
        except ConfigError as error:
            raise CheckpointError(f"{source}: config.json is no Geneformer configuration: {error}") from error

    def save_tokenizer(self, directory: Path) -> None:
        """Write the dictionaries, where there are some."""
        if self.dictionaries is not None:
            save_model_dictionaries(self.dictionaries, directory)


def guess_variant(norm_placement: str, seq_length: int) -> str:
    """Family of a file that does not say it: by its norms and its longest cell, 2,048 tokens in V1, 4,096 in V2."""
    if norm_placement == "pre":
        return "BIONEMO"
    return "V1" if seq_length <= V1.max_length else "V2"
