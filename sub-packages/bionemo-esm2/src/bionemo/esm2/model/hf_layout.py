# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 in Hugging Face's files: parameter names, config.json and tokenizer, both ways and bit for bit."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bionemo.core.errors import CheckpointError
from bionemo.esm2.model.model import ESM2Config
from bionemo.llm.checkpoints.hf_tensors import QKV, TensorReader, fuse_qkv, split_qkv
from bionemo.llm.model.rotary import RotaryEmbedding


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
INV_FREQ = "rotary_pos_emb.inv_freq"
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
    """Names of ESM-2 in Hugging Face's files; see ``bionemo.llm.checkpoints.hf_directory.HuggingFaceLayout``."""

    def tensors_to_hf(self, state: Mapping[str, Tensor], config: ESM2Config) -> dict[str, Tensor]:
        """Rename a state dict; the fused query, key and value are taken apart, the vocabulary's padding is dropped."""
        tensors = {theirs: state[own] for own, theirs in renamed_parameters(config.num_layers)}
        tensors[WORD_EMBEDDINGS[1]] = state[WORD_EMBEDDINGS[0]][:VOCAB_SIZE]
        tensors[OUTPUT_BIAS[1]] = state[OUTPUT_BIAS[0]][:VOCAB_SIZE]
        for layer in range(config.num_layers):
            for kind in ("weight", "bias"):
                fused = state[f"encoder.layers.{layer}.self_attention.linear_qkv.{kind}"]
                for part, tensor in split_qkv(fused, config.num_attention_heads).items():
                    tensors[f"esm.encoder.layer.{layer}.attention.self.{part}.{kind}"] = tensor
            tensors[inv_freq_name(layer)] = state[INV_FREQ].clone()
        return tensors

    def tensors_from_hf(self, tensors: Mapping[str, Tensor], config: ESM2Config) -> dict[str, Tensor]:
        """Rename a file's tensors to our state dict.

        Raises:
            CheckpointError: A tensor is missing, has an unknown name or another shape than the config says.
        """
        reader = TensorReader(tensors, IGNORED_SUFFIXES)
        remaining = reader.remaining
        hidden, ffn = config.hidden_size, config.ffn_hidden_size
        assert ffn is not None
        state: dict[str, Tensor] = {}
        if not any(name.startswith("esm.contact_head.") for name in remaining):
            # A masked-LM file without the head, as some fine-tuning tools write it: an untrained one, all zero.
            remaining["esm.contact_head.regression.weight"] = torch.zeros(
                1, config.num_layers * config.num_attention_heads
            )
            remaining["esm.contact_head.regression.bias"] = torch.zeros(1)
        for own, theirs in renamed_parameters(config.num_layers):
            state[own] = reader.take(theirs, *self._shape(own, config, hidden, ffn))
        for own, theirs, columns in ((*WORD_EMBEDDINGS, (hidden,)), (*OUTPUT_BIAS, ())):
            state[own] = reader.take_rows(theirs, VOCAB_SIZE, config.padded_vocab_size(VOCAB_SIZE), *columns)
        for layer in range(config.num_layers):
            for kind, columns in (("weight", (hidden,)), ("bias", ())):
                prefix = f"esm.encoder.layer.{layer}.attention.self"
                parts = [reader.take(f"{prefix}.{part}.{kind}", hidden, *columns) for part in QKV]
                fused = fuse_qkv(parts, config.num_attention_heads)
                state[f"encoder.layers.{layer}.self_attention.linear_qkv.{kind}"] = fused
        state[INV_FREQ] = self._take_inv_freq(remaining, config)
        decoder = remaining.pop("lm_head.decoder.weight", None)
        if decoder is not None and not torch.equal(decoder.float(), state[WORD_EMBEDDINGS[0]][:VOCAB_SIZE]):
            raise CheckpointError("lm_head.decoder.weight differs from the word embeddings; ESM-2 ties them.")
        reader.finish("ESM-2")
        return state

    @staticmethod
    def _shape(own: str, config: ESM2Config, hidden: int, ffn: int) -> tuple[int, ...]:
        if own.startswith("contact_head"):
            return (1, config.num_layers * config.num_attention_heads) if own.endswith("weight") else (1,)
        if own.endswith("bias") or "norm" in own:
            return (ffn,) if "linear_fc1" in own else (hidden,)
        return (ffn, hidden) if "linear_fc1" in own else (hidden, ffn) if "linear_fc2" in own else (hidden, hidden)

    @staticmethod
    def _take_inv_freq(remaining: dict[str, Tensor], config: ESM2Config) -> Tensor:
        """Remove every spelling of the rotary frequencies and give them, or compute them where the file has none."""
        names = [name for name in remaining if name.endswith("rotary_embeddings.inv_freq")]
        found = [remaining.pop(name).float() for name in names]
        if not found:
            return RotaryEmbedding(config.head_dim, config.rotary_base).inv_freq
        if any(not torch.equal(values, found[0]) for values in found):
            raise CheckpointError(f"{names[0]} and other layers' rotary frequencies differ; ESM-2 shares them.")
        return found[0]

    def config_to_hf(self, config: ESM2Config) -> dict[str, Any]:
        """Give config.json, every value written: the defaults of ``EsmConfig`` are not ESM-2's."""
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
            CheckpointError: It is not an ESM-2 masked-language model, or lacks a size.
        """
        if values.get("model_type") != "esm":
            raise CheckpointError(
                f"{source}: config.json says model_type {values.get('model_type')!r}, expected 'esm'."
            )
        expected = {"position_embedding_type": "rotary", "emb_layer_norm_before": False, "vocab_size": VOCAB_SIZE}
        for key, value in expected.items():
            if (values.get(key) or False) != value:
                raise CheckpointError(f"{source}: config.json says {key} {values.get(key)!r}, ESM-2 has {value!r}.")
        try:
            return ESM2Config(
                num_layers=values["num_hidden_layers"],
                hidden_size=values["hidden_size"],
                num_attention_heads=values["num_attention_heads"],
                ffn_hidden_size=values["intermediate_size"],
                layernorm_epsilon=values["layer_norm_eps"],
                init_method_std=values.get("initializer_range", 0.02),
                rotary_base=values.get("rope_theta") or values.get("rope_parameters", {}).get("rope_theta", 10_000.0),
                hidden_dropout=values.get("hidden_dropout_prob", 0.0),
                attention_dropout=values.get("attention_probs_dropout_prob", 0.0),
                token_dropout=values.get("token_dropout", False),
            )
        except KeyError as error:
            raise CheckpointError(f"{source}: config.json lacks {error}.") from error
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{source}: config.json is no ESM-2 configuration: {error}") from error

    def save_tokenizer(self, directory: Path) -> None:
        """Write the tokenizer's files."""
        from bionemo.esm2.data.tokenizer import save_tokenizer

        save_tokenizer(directory)
