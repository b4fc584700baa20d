# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 in Hugging Face's files: parameter names, config.json and tokenizer, both ways and bit for bit."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError, ConfigError
from bionemo.esm2.model.fair_esm import FairEsmForm
from bionemo.esm2.model.model import ESM2Config
from bionemo.esm2.model.nemo_form import INV_FREQ, ESM2NemoForm
from bionemo.llm.checkpoints.hf_names import with_current_names
from bionemo.llm.checkpoints.hf_tensors import QKV, TensorReader, split_qkv
from bionemo.llm.checkpoints.json_files import ConfigValues
from bionemo.llm.checkpoints.lazy_tensors import LazyTensor, LazyTensors, in_memory
from bionemo.llm.model.rotary import RotaryEmbedding


logger = logging.getLogger(__name__)

VOCAB_SIZE = 33
MAX_POSITIONS = 1026
"""Hugging Face's ``max_position_embeddings``: 1,024 tokens and its offset of two."""

WHOLE_MODEL_NAMES = {
    "encoder.final_layernorm.weight": "esm.encoder.emb_layer_norm_after.weight",
    "encoder.final_layernorm.bias": "esm.encoder.emb_layer_norm_after.bias",
    "lm_head.dense.weight": "lm_head.dense.weight",
    "lm_head.dense.bias": "lm_head.dense.bias",
    "lm_head.layer_norm.weight": "lm_head.layer_norm.weight",
    "lm_head.layer_norm.bias": "lm_head.layer_norm.bias",
    "contact_head.regression.weight": "esm.contact_head.regression.weight",
    "contact_head.regression.bias": "esm.contact_head.regression.bias",
}
LAYER_NAMES = {
    "self_attention.linear_proj": "attention.output.dense",
    "input_layernorm": "attention.LayerNorm",
    "mlp.linear_fc1": "intermediate.dense",
    "mlp.linear_fc2": "output.dense",
    "pre_mlp_layernorm": "LayerNorm",
}
WORD_EMBEDDINGS = ("embedding.word_embeddings.weight", "esm.embeddings.word_embeddings.weight")
OUTPUT_BIAS = ("output_layer.bias", "lm_head.bias")
TASK_HEAD_PREFIXES = ("classifier.", "esm.pooler.", "sequence_head.", "residue_head.")
"""Of models fine-tuned for another task, and of ``EsmModel``; the encoder is read without them."""
IGNORED_SUFFIXES = ("embeddings.position_embeddings.weight", "embeddings.position_ids", "lm_head.decoder.bias")


def renamed_parameters(num_layers: int) -> Iterator[tuple[str, str]]:
    """Pairs (our name, Hugging Face's name) of all parameters that only change their name."""
    yield from WHOLE_MODEL_NAMES.items()
    for layer in range(num_layers):
        for own, theirs in LAYER_NAMES.items():
            for kind in ("weight", "bias"):
                yield f"encoder.layers.{layer}.{own}.{kind}", f"esm.encoder.layer.{layer}.{theirs}.{kind}"


def inv_freq_name(layer: int | str) -> str:
    """Name of a layer's rotary frequencies, the original layout that every transformers release reads."""
    return f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"


class ESM2Layout:
    """Names of ESM-2 in Hugging Face's files; see ``bionemo.llm.checkpoints.hf_directory.HuggingFaceLayout``.

    Args:
        expects_token_head: Whether to warn of a model without a masked-token head.
    """

    other_forms = (FairEsmForm(), ESM2NemoForm())

    def __init__(self, *, expects_token_head: bool = True) -> None:
        self.expects_token_head = expects_token_head

    def tensors_to_hf(self, state: Mapping[str, Tensor], config: ESM2Config) -> dict[str, Tensor]:
        """Rename a state dict, with or without a masked-token head.

        The fused query, key and value are taken apart, the vocabulary's padding is dropped.
        """
        token_head = OUTPUT_BIAS[0] in state
        renamed = renamed_parameters(config.num_layers)
        tensors = {theirs: state[own] for own, theirs in renamed if token_head or not own.startswith("lm_head.")}
        for own, theirs in (WORD_EMBEDDINGS, OUTPUT_BIAS) if token_head else (WORD_EMBEDDINGS,):
            tensors[theirs] = state[own][:VOCAB_SIZE]
        for layer in range(config.num_layers):
            for kind in ("weight", "bias"):
                fused = state[f"encoder.layers.{layer}.self_attention.linear_qkv.{kind}"]
                for part, tensor in split_qkv(fused, config.num_attention_heads).items():
                    tensors[f"esm.encoder.layer.{layer}.attention.self.{part}.{kind}"] = tensor
            tensors[inv_freq_name(layer)] = state[INV_FREQ].clone()
        return tensors

    def tensors_from_hf(self, tensors: Mapping[str, Tensor], config: ESM2Config) -> LazyTensors:
        """Rename a file's tensors to our state dict: of ``EsmForMaskedLM``, or the encoder of another ESM-2 class.

        Raises:
            CheckpointError: A tensor is missing, has an unknown name or another shape than the config says.
        """
        named = with_current_names(LazyTensors.of(tensors), "esm")
        reader = TensorReader(named, IGNORED_SUFFIXES, TASK_HEAD_PREFIXES)
        hidden, ffn = config.hidden_size, config.ffn_hidden_size
        assert ffn is not None
        token_head = any(name.startswith("lm_head.") for name in named)
        if not token_head and self.expects_token_head:
            logger.warning("The weights hold no masked-token head: the model gives hidden states and no logits.")
        state: dict[str, LazyTensor] = {}
        self._add_missing_contact_head(reader, config)
        for own, theirs in renamed_parameters(config.num_layers):
            if token_head or not own.startswith("lm_head."):
                state[own] = reader.take(theirs, *self._shape(own, config, hidden, ffn))
        tables = ((*WORD_EMBEDDINGS, (hidden,)), (*OUTPUT_BIAS, ()))
        for own, theirs, columns in tables if token_head else tables[:1]:
            state[own] = reader.take_rows(theirs, VOCAB_SIZE, config.padded_vocab_size(VOCAB_SIZE), *columns)
        for layer in range(config.num_layers):
            for kind, columns in (("weight", (hidden,)), ("bias", ())):
                names = [f"esm.encoder.layer.{layer}.attention.self.{part}.{kind}" for part in QKV]
                fused = reader.take_qkv(names, config.num_attention_heads, hidden, *columns)
                state[f"encoder.layers.{layer}.self_attention.linear_qkv.{kind}"] = fused
        state[INV_FREQ] = in_memory(self._take_inv_freq(reader, config))
        reader.check_tied("lm_head.decoder.weight", state[WORD_EMBEDDINGS[0]], VOCAB_SIZE)
        reader.finish("ESM-2")
        return LazyTensors(state)

    def state_from_megatron(self, tensors: Mapping[str, Tensor], config: ESM2Config) -> LazyTensors:
        """Check the tensors of a Megatron model, pad its vocabulary as ours, and add what it does not hold.

        Args:
            tensors: Under Megatron's names, layer by layer.
            config: Architecture.

        Raises:
            CheckpointError: A tensor is missing, has an unknown name or another shape than the config says.
        """
        reader = TensorReader(tensors, asked_by="the model's configuration")
        hidden, ffn = config.hidden_size, config.ffn_hidden_size
        assert ffn is not None
        token_head = OUTPUT_BIAS[0] in reader.remaining
        if not token_head:
            logger.warning("The weights hold no masked-token head: the model gives hidden states and no logits.")
        self._add_missing_contact_head(reader, config, "contact_head.")
        state: dict[str, LazyTensor] = {}
        for own, _ in renamed_parameters(config.num_layers):
            if token_head or not own.startswith("lm_head."):
                state[own] = reader.take(own, *self._shape(own, config, hidden, ffn))
        for (own, _), columns in ((WORD_EMBEDDINGS, (hidden,)), (OUTPUT_BIAS, ()))[: 1 + token_head]:
            padded = config.padded_vocab_size(VOCAB_SIZE)
            state[own] = reader.take_padded_rows(own, VOCAB_SIZE, padded, *columns)
        for layer in range(config.num_layers):
            for kind, columns in (("weight", (hidden,)), ("bias", ())):
                fused = f"encoder.layers.{layer}.self_attention.linear_qkv.{kind}"
                state[fused] = reader.take(fused, len(QKV) * hidden, *columns)
        if INV_FREQ in reader.remaining:
            state[INV_FREQ] = reader.take(INV_FREQ, config.head_dim // 2)
        else:
            state[INV_FREQ] = in_memory(RotaryEmbedding(config.head_dim, config.rotary_base).inv_freq)
        reader.finish("ESM-2")
        return LazyTensors(state)

    @staticmethod
    def _add_missing_contact_head(reader: TensorReader, config: ESM2Config, prefix: str = "esm.contact_head.") -> None:
        """Add an untrained head, all zero, to a file without one, as NeMo and some fine-tuning tools write it."""
        if not any(name.startswith(prefix) for name in reader.remaining):
            logger.warning("The weights hold no contact head: predicted contacts are meaningless until one is fitted.")
            num_maps = config.num_layers * config.num_attention_heads
            reader.remaining[f"{prefix}regression.weight"] = LazyTensor(
                (1, num_maps), lambda: torch.zeros(1, num_maps)
            )
            reader.remaining[f"{prefix}regression.bias"] = in_memory(torch.zeros(1))

    @staticmethod
    def _shape(own: str, config: ESM2Config, hidden: int, ffn: int) -> tuple[int, ...]:
        if own.startswith("contact_head"):
            return (1, config.num_layers * config.num_attention_heads) if own.endswith("weight") else (1,)
        if own.endswith("bias") or "norm" in own:
            return (ffn,) if "linear_fc1" in own else (hidden,)
        return (ffn, hidden) if "linear_fc1" in own else (hidden, ffn) if "linear_fc2" in own else (hidden, hidden)

    @staticmethod
    def _take_inv_freq(reader: TensorReader, config: ESM2Config) -> Tensor:
        """Remove every spelling of the rotary frequencies and return them, or compute them where the file has none."""
        names = [name for name in reader.remaining if name.endswith("rotary_embeddings.inv_freq")]
        found = [reader.take(name, config.head_dim // 2).read() for name in names]
        if not found:
            computed: Tensor = RotaryEmbedding(config.head_dim, config.rotary_base).inv_freq
            return computed
        if any(not torch.equal(values, found[0]) for values in found):
            raise CheckpointError(f"{names[0]} and other layers' rotary frequencies differ; ESM-2 shares them.")
        return found[0].clone()

    def config_to_hf(self, config: ESM2Config) -> dict[str, Any]:
        """Return config.json, every value written: the defaults of ``EsmConfig`` are not ESM-2's."""
        return {
            "architectures": ["EsmForMaskedLM"],
            "model_type": "esm",
            "vocab_size": VOCAB_SIZE,
            "pad_token_id": 1,
            "mask_token_id": 32,
            "hidden_size": config.hidden_size,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_attention_heads,
            "intermediate_size": config.ffn_hidden_size,
            "hidden_act": "gelu",
            "hidden_dropout_prob": float(config.hidden_dropout),
            "attention_probs_dropout_prob": float(config.attention_dropout),
            "max_position_embeddings": MAX_POSITIONS,
            "initializer_range": config.init_method_std,
            "layer_norm_eps": config.layernorm_epsilon,
            "position_embedding_type": "rotary",
            "rope_theta": config.rotary_base,
            "token_dropout": config.token_dropout,
            "emb_layer_norm_before": False,
            "classifier_dropout": None,
            "is_folding_model": False,
            "esmfold_config": None,
            "vocab_list": None,
            "tie_word_embeddings": True,
            "use_cache": True,
            "torch_dtype": "float32",
        }

    def config_from_hf(self, values: Mapping[str, Any], source: str) -> ESM2Config:
        """Read config.json.

        Raises:
            CheckpointError: It is not an ESM-2 model, or a value is missing or impossible.
        """
        read = ConfigValues(values, source)
        if values.get("model_type") != "esm":
            raise CheckpointError(
                f"{source}: config.json says model_type {values.get('model_type')!r}, expected 'esm'."
            )
        if values.get("is_folding_model"):
            raise CheckpointError(f"{source}: config.json says is_folding_model: this is an ESMFold checkpoint.")
        expected = {"position_embedding_type": "rotary", "emb_layer_norm_before": False, "vocab_size": VOCAB_SIZE}
        for key, value in expected.items():
            if (values.get(key) or False) != value:
                raise CheckpointError(f"{source}: config.json says {key} {values.get(key)!r}, ESM-2 has {value!r}.")
        try:
            return ESM2Config(
                num_layers=read.size("num_hidden_layers"),
                hidden_size=read.size("hidden_size"),
                num_attention_heads=read.size("num_attention_heads"),
                ffn_hidden_size=read.size("intermediate_size"),
                layernorm_epsilon=read.number("layer_norm_eps"),
                init_method_std=read.number("initializer_range", 0.02),
                rotary_base=rotary_base(read),
                hidden_dropout=read.number("hidden_dropout_prob", 0.0),
                attention_dropout=read.number("attention_probs_dropout_prob", 0.0),
                token_dropout=read.flag("token_dropout", False),
            )
        except ConfigError as error:
            raise CheckpointError(f"{source}: config.json is no ESM-2 configuration: {error}") from error

    def save_tokenizer(self, directory: Path) -> None:
        """Write the tokenizer's files."""
        from bionemo.esm2.data.tokenizer import save_tokenizer

        save_tokenizer(directory)


def rotary_base(read: ConfigValues) -> float:
    """Return the base of the rotary frequencies, which releases of transformers write in two places."""
    if read.values.get("rope_theta") is None and isinstance(read.values.get("rope_parameters"), dict):
        read = ConfigValues(read.values["rope_parameters"], read.source)
    return read.number("rope_theta", 10_000.0)
